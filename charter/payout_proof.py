"""Proof that a payout is part of a published batch: what a host checks offline, with files alone.

A batch is a Merkle tree. Its first leaf binds the coordinator's ledger as it stood, each further
one a payout, under a random salt so that nobody learns a neighbour's amount from a proof.
"""

from typing import Annotated, Final

import msgspec

from peerllm.charter.errors import Malformed
from peerllm.charter.merkle import MAXIMUM_PATH, verify_inclusion
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES, Sha256Hex, spelling
from peerllm.crypto.encoding import encode

SALT_BYTES: Final = 16

BatchName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,34}\Z")]
# 100,000 US dollars in nano-USD: the largest transfer of the ledger.
Amount = Annotated[int, msgspec.Meta(ge=1, le=10**14)]


class LedgerLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """The first leaf: the last link of the ledger's hash chain before the batch."""

    domain: str = "peerllm/payout-ledger/1"
    batch: str
    entry: int
    digest: bytes


class PayoutLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """A further leaf: what one host is paid, in nano-USD."""

    domain: str = "peerllm/payout-line/1"
    batch: str
    line: int
    host: str
    amount: int
    salt: bytes


class PayoutProof(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="payout-proof/1",
):  # fmt: skip
    """A host's own payout and its path to the batch's root; hashes and salt in hexadecimal.

    `leaves` counts the tree's leaves, `line` is this one's place from 1.
    """

    batch: BatchName
    line: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    leaves: Annotated[int, msgspec.Meta(ge=2, le=2**31)]
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    amount_nano_usd: Amount
    salt: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    path: Annotated[tuple[Sha256Hex, ...], msgspec.Meta(max_length=MAXIMUM_PATH)]
    root: Sha256Hex


def leaf_bytes(leaf: LedgerLeaf | PayoutLeaf) -> bytes:
    """Return a leaf's canonical bytes."""
    return encode(leaf)


def proof_holds(proof: PayoutProof, root: bytes) -> bool:
    """Tell whether the proof leads from its payout to this root, its own root aside."""
    leaf = PayoutLeaf(
        batch=proof.batch,
        line=proof.line,
        host=proof.host,
        amount=proof.amount_nano_usd,
        salt=bytes.fromhex(proof.salt),
    )
    path = [bytes.fromhex(step) for step in proof.path]
    return verify_inclusion(root, proof.leaves, proof.line, leaf_bytes(leaf), path)


def write_proof(proof: PayoutProof) -> bytes:
    """Return the proof's file."""
    return spelling(proof)


def read_proof(raw: bytes) -> PayoutProof:
    """Parse a proof's file; raises Malformed."""
    if len(raw) > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(f"the proof has {len(raw)} bytes, at most {MAXIMUM_DOCUMENT_BYTES}")
    try:
        return msgspec.json.decode(raw, type=PayoutProof)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a payout's proof: {error}") from error
