"""The public log's front door: take down, publish, prove, verify. docs/log.md shows how."""

from peerllm.charter.log_checkpoint import (
    Checkpoint,
    LogKeys,
    SignedCheckpoint,
    read_checkpoint,
)
from peerllm.charter.log_entries import (
    BallotEvent,
    CharterVersion,
    Entry,
    FallbackWindow,
    PayoutBatch,
    RegionDecision,
    StrikeCommitment,
    TariffVersion,
    TierChange,
    commit_strike,
    opens_strike,
    read_entry,
    write_entry,
)
from peerllm.charter.log_notes import SignatureType, VerifierKey, parse_verifier_key
from peerllm.charter.log_proof import ProvenEntry, prove_entry, verify_proof
from peerllm.charter.log_store import LogWriter, create_log, log_key, open_log

__all__ = [
    "BallotEvent",
    "CharterVersion",
    "Checkpoint",
    "Entry",
    "FallbackWindow",
    "LogKeys",
    "LogWriter",
    "PayoutBatch",
    "ProvenEntry",
    "RegionDecision",
    "SignatureType",
    "SignedCheckpoint",
    "StrikeCommitment",
    "TariffVersion",
    "TierChange",
    "VerifierKey",
    "commit_strike",
    "create_log",
    "log_key",
    "open_log",
    "opens_strike",
    "parse_verifier_key",
    "prove_entry",
    "read_checkpoint",
    "read_entry",
    "verify_proof",
    "write_entry",
]
