"""Receipts as the window lists and verifies them; there is no content in any."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from peerllm.crypto.receipt import Receipt, read_receipt
from peerllm.peer.desktop.presentation import Tone
from peerllm.peer.desktop.strings import tr
from peerllm.peer.receipt_book import Receipts, signed_bytes


@dataclass(frozen=True)
class ReceiptRow:
    """One receipt that this host signed. `signed` is its exact bytes, as text."""

    signed: str
    time: str
    model: str
    outcome: str
    prompt_tokens: int
    answer_tokens: int
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """What came of verifying a receipt."""

    tone: Tone
    sentence: str


def receipt_rows(receipts: Receipts, host: str, names: Mapping[str, str]) -> list[ReceiptRow]:
    """Those that are receipts of this host, newest first. `names` of models, by digest."""
    rows = []
    for text in receipts.receipts:
        receipt = _read(text, host)
        if isinstance(receipt, Receipt):
            digest = receipt.model_digest.hex()
            rows.append(
                ReceiptRow(
                    signed=text,
                    time=_local(receipt.issued_at_us),
                    model=names.get(digest, digest[:12]),
                    outcome=_outcome(receipt.outcome),
                    prompt_tokens=receipt.prompt_tokens,
                    answer_tokens=receipt.completion_tokens,
                    seconds=receipt.duration_us / 1e6,
                )
            )
    return rows


def verdict(text: str, host: str) -> Verdict:
    """Verify the signature over the receipt's exact bytes, anew."""
    receipt = _read(text, host)
    if not isinstance(receipt, Receipt):
        false = tr("Activity", "This is not a receipt that this host signed ({why}).")
        return Verdict("problem", false.format(why=receipt.replace("_", " ")))
    digest = hashlib.sha256(signed_bytes(text) or b"").hexdigest()
    true = tr(
        "Activity",
        "Verified: the key of this host ({host}) signed exactly these numbers for the coordinator "
        "{coordinator}, on {time}. SHA-256 of the signed bytes: {digest}. Whether it was paid is "
        "for the coordinator's account to say.",
    )
    return Verdict(
        "good",
        true.format(
            host=f"…{host[-8:]}",
            coordinator=f"…{receipt.coordinator[-8:]}",
            time=_local(receipt.issued_at_us),
            digest=digest,
        ),
    )


def _read(text: str, host: str) -> Receipt | str:
    raw = signed_bytes(text)
    found = None if raw is None else read_receipt(raw, host=host)
    if found is None:
        return "malformed"
    return found if isinstance(found, Receipt) else found.reason


def _local(epoch_us: int) -> str:
    return datetime.fromtimestamp(epoch_us / 1e6).strftime("%Y-%m-%d %H:%M:%S")


def _outcome(outcome: str) -> str:
    return {
        "complete": tr("Activity", "complete"),
        "cancelled": tr("Activity", "not needed"),
        "failed": tr("Activity", "failed"),
    }[outcome]
