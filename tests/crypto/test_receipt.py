from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.crypto.certificate import CLOCK_TOLERANCE_US
from peerllm.crypto.encoding import encode
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import (
    MAXIMUM_TOKENS,
    Receipt,
    ReceiptRefused,
    sign_receipt,
    verify_receipt,
)
from peerllm.crypto.signed import SignedBlob, read_blob, sign_blob

HOST = Identity.from_seed(b"h" * 32)
COORDINATOR = Identity.from_seed(b"c" * 32)
OTHER = Identity.from_seed(b"o" * 32)
NOW = 1_700_000_000_000_000
RECEIPT = Receipt(
    dispatch_id=b"d" * 16,
    host=HOST.peer_id,
    coordinator=COORDINATOR.peer_id,
    nonce=b"n" * 16,
    model_digest=b"m" * 32,
    prompt_tokens=12,
    completion_tokens=34,
    first_token_us=200_000,
    duration_us=900_000,
    outcome="complete",
    issued_at_us=NOW,
    expires_at_us=NOW + 60_000_000,
)
RAW = sign_receipt(HOST, RECEIPT)


def _verify(raw: bytes, **changes: Any) -> Receipt | ReceiptRefused:
    expected: dict[str, Any] = {
        "host": HOST.peer_id,
        "coordinator": COORDINATOR.peer_id,
        "dispatch_id": b"d" * 16,
        "nonce": b"n" * 16,
        "model_digest": b"m" * 32,
        "now_us": NOW,
    }
    return verify_receipt(raw, **(expected | changes))


def _signed(**changes: Any) -> bytes:
    return sign_receipt(HOST, msgspec.structs.replace(RECEIPT, **changes))


tokens = st.integers(0, MAXIMUM_TOKENS)


@given(tokens, tokens, st.sampled_from(["complete", "cancelled", "failed"]))
def test_a_hosts_own_receipt_is_accepted(prompt: int, completion: int, outcome: Any) -> None:
    receipt = msgspec.structs.replace(
        RECEIPT, prompt_tokens=prompt, completion_tokens=completion, outcome=outcome
    )
    assert _verify(sign_receipt(HOST, receipt)) == receipt


@given(st.integers(0, len(RAW) * 8 - 1))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    altered = bytearray(RAW)
    altered[bit // 8] ^= 1 << bit % 8
    assert isinstance(_verify(bytes(altered)), ReceiptRefused)


@given(st.integers(0, len(RAW) - 1))
def test_truncated_is_refused(cut: int) -> None:
    assert _verify(RAW[:cut]) == ReceiptRefused("malformed")
    assert _verify(RAW + RAW[cut:]) == ReceiptRefused("malformed")


@given(st.binary(max_size=600))
def test_garbage_is_refused(raw: bytes) -> None:
    assert isinstance(_verify(raw), ReceiptRefused)
    assert _verify(sign_blob(HOST, "receipt/1", raw)) == ReceiptRefused("malformed")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"host": OTHER.peer_id}, "bad_signature"),
        ({"host": "nobody"}, "bad_signature"),
        ({"coordinator": OTHER.peer_id}, "wrong_coordinator"),
        ({"dispatch_id": b"e" * 16}, "wrong_dispatch"),
        ({"nonce": b"o" * 16}, "wrong_nonce"),
        ({"model_digest": b"o" * 32}, "wrong_model"),
        ({"now_us": NOW - CLOCK_TOLERANCE_US - 1}, "not_yet_valid"),
        ({"now_us": NOW + 60_000_000}, "expired"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_receipt_is_good_for_one_host_one_dispatch_and_one_time(
    change: dict[str, object], reason: str
) -> None:
    result = _verify(RAW, **change)
    assert isinstance(result, ReceiptRefused)
    assert result.reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "unsupported_version"),
        ({"version": 0}, "malformed"),
        ({"host": OTHER.peer_id}, "wrong_host"),
        ({"prompt_tokens": -1}, "malformed"),
        ({"completion_tokens": MAXIMUM_TOKENS + 1}, "malformed"),
        ({"completion_tokens": True}, "malformed"),
        ({"duration_us": 2**63 - 1}, "malformed"),
        ({"outcome": "excellent"}, "malformed"),
        ({"nonce": b"n" * 17}, "malformed"),
        ({"first_token_us": 900_001}, "contradictory"),
        ({"expires_at_us": NOW}, "contradictory"),
    ],
    ids=str,
)
def test_what_a_host_signs_is_still_checked(change: dict[str, object], reason: str) -> None:
    result = _verify(_signed(**change))
    assert isinstance(result, ReceiptRefused)
    assert result.reason == reason


def test_the_signed_bytes_are_kept_as_they_were() -> None:
    blob = read_blob(RAW)
    assert blob is not None
    assert blob.body == encode(RECEIPT)


def test_a_signed_body_in_another_spelling_is_refused() -> None:
    raw = encode(RECEIPT)
    widened = raw.replace(b"prompt_tokens\x0c", b"prompt_tokens\xcc\x0c")
    assert widened != raw
    assert _verify(sign_blob(HOST, "receipt/1", widened)) == ReceiptRefused("malformed")


def test_a_signature_for_another_purpose_is_not_a_receipt() -> None:
    raw = sign_blob(HOST, "sealing-certificate/1", encode(RECEIPT))
    assert _verify(raw) == ReceiptRefused("bad_signature")


def test_an_oversized_blob_is_refused() -> None:
    blob = SignedBlob(body=bytes(4_000), signature=bytes(64))
    assert _verify(encode(blob)) == ReceiptRefused("malformed")
