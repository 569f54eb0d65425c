"""Receipts: a host's signed, content-free statement of the work it did for one dispatch."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from peerllm.crypto.certificate import CLOCK_TOLERANCE_US, EpochMicroseconds, PeerIdText
from peerllm.crypto.encoding import decode_canonical, encode
from peerllm.crypto.errors import DecodingError
from peerllm.crypto.identity import Identity
from peerllm.crypto.signed import MAXIMUM_BLOB_BYTES, is_signed_by, read_blob, sign_blob

_DOMAIN: Final = "receipt/1"

# No model here has a context near it; it keeps sums of claims far from overflow everywhere.
MAXIMUM_TOKENS: Final = 10_000_000

TokenCount = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_TOKENS)]
# A day: far longer than any dispatch may run.
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=24 * 3600 * 1_000_000)]
Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

ReceiptFault = Literal[
    "malformed",
    "bad_signature",
    "unsupported_version",
    "wrong_host",
    "wrong_coordinator",
    "wrong_dispatch",
    "wrong_nonce",
    "wrong_model",
    "contradictory",
    "not_yet_valid",
    "expired",
]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says it did. Counts are claims: the coordinator pays min(claimed, counted).

    `first_token_us` and `duration_us` are measured from acceptance; `first_token_us` is 0 when no
    token was made. `nonce` is the coordinator's and makes the receipt good for one payment.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1
    dispatch_id: Bytes16
    host: PeerIdText
    coordinator: PeerIdText
    nonce: Bytes16
    model_digest: Bytes32
    prompt_tokens: TokenCount
    completion_tokens: TokenCount
    first_token_us: Microseconds
    duration_us: Microseconds
    outcome: Literal["complete", "cancelled", "failed"]
    issued_at_us: EpochMicroseconds
    expires_at_us: EpochMicroseconds


@dataclass(frozen=True, slots=True)
class ReceiptRefused:
    """Why a receipt was not accepted."""

    reason: ReceiptFault


def sign_receipt(identity: Identity, receipt: Receipt) -> bytes:
    """Return the signed receipt; these bytes are what is sent, verified and stored."""
    return sign_blob(identity, _DOMAIN, encode(receipt))


def read_receipt(raw: bytes, *, host: str) -> Receipt | ReceiptRefused:
    """A receipt that `host` signed, whatever it was for and however long ago."""
    blob = read_blob(raw)
    if blob is None:
        return ReceiptRefused("malformed")
    if not is_signed_by(blob, host, _DOMAIN):
        return ReceiptRefused("bad_signature")
    try:
        receipt = decode_canonical(blob.body, Receipt, maximum_bytes=MAXIMUM_BLOB_BYTES)
    except DecodingError:
        return ReceiptRefused("malformed")
    checks: tuple[tuple[bool, ReceiptFault], ...] = (
        (receipt.version == 1, "unsupported_version"),
        (receipt.host == host, "wrong_host"),
        (_is_consistent(receipt), "contradictory"),
    )
    return next((ReceiptRefused(fault) for holds, fault in checks if not holds), receipt)


def verify_receipt(
    raw: bytes,
    *,
    host: str,
    coordinator: str,
    dispatch_id: bytes,
    nonce: bytes,
    model_digest: bytes,
    now_us: int,
) -> Receipt | ReceiptRefused:
    """Accept a receipt that `host` signed for exactly this dispatch and that has not expired."""
    receipt = read_receipt(raw, host=host)
    if isinstance(receipt, ReceiptRefused):
        return receipt
    checks: tuple[tuple[bool, ReceiptFault], ...] = (
        (receipt.coordinator == coordinator, "wrong_coordinator"),
        (receipt.dispatch_id == dispatch_id, "wrong_dispatch"),
        (receipt.nonce == nonce, "wrong_nonce"),
        (receipt.model_digest == model_digest, "wrong_model"),
        (receipt.issued_at_us <= now_us + CLOCK_TOLERANCE_US, "not_yet_valid"),
        (now_us < receipt.expires_at_us, "expired"),
    )
    for holds, fault in checks:
        if not holds:
            return ReceiptRefused(fault)
    return receipt


def _is_consistent(receipt: Receipt) -> bool:
    return (
        receipt.first_token_us <= receipt.duration_us
        and receipt.issued_at_us < receipt.expires_at_us
    )
