import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from peerllm.crypto.certificate import SealingKey
from peerllm.crypto.envelope import (
    MAXIMUM_ENVELOPE_BYTES,
    MAXIMUM_PLAINTEXT_BYTES,
    EnvelopeBinding,
    EnvelopeRefused,
    open_envelope,
    seal,
)
from peerllm.crypto.errors import PeerIdError, PlaintextTooLarge, SealingKeyRefused
from peerllm.crypto.identity import Identity, peer_id_of

KEY = SealingKey.generate()
NOW = 1_700_000_000_000_000
BINDING = EnvelopeBinding(
    dispatch_id=b"d" * 16,
    host=Identity.from_seed(b"h" * 32).peer_id,
    model_digest=b"m" * 32,
    expires_at_us=NOW + 1,
    seed=7,
)
SEALED = seal(BINDING, KEY.public_bytes, b"translate this")
ALTERED = EnvelopeRefused("not_for_us_or_altered")

uint63 = st.integers(0, 2**63 - 1)
bindings = st.builds(
    EnvelopeBinding,
    dispatch_id=st.binary(min_size=16, max_size=16),
    host=st.binary(min_size=32, max_size=32).map(peer_id_of),
    model_digest=st.binary(min_size=32, max_size=32),
    expires_at_us=uint63,
    seed=uint63,
)


@given(bindings, st.binary(max_size=5_000))
def test_the_named_host_reads_what_was_sealed(binding: EnvelopeBinding, text: bytes) -> None:
    sealed = seal(binding, KEY.public_bytes, text)
    assert open_envelope(binding, KEY, sealed, now_us=binding.expires_at_us - 1) == text


@given(bindings, bindings)
def test_different_bindings_never_share_their_info(
    one: EnvelopeBinding, other: EnvelopeBinding
) -> None:
    assert (one.info() == other.info()) == (one == other)


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    altered = bytearray(SEALED)
    altered[bit // 8] ^= 1 << bit % 8
    assert open_envelope(BINDING, KEY, bytes(altered), now_us=NOW) == ALTERED


@given(st.integers(0, len(SEALED) - 1))
def test_truncated_is_refused(cut: int) -> None:
    shortened = open_envelope(BINDING, KEY, SEALED[:cut], now_us=NOW)
    assert shortened == EnvelopeRefused("malformed")
    # Lengthened it may happen to have the size of another bucket; it still does not open.
    lengthened = open_envelope(BINDING, KEY, SEALED + SEALED[cut:], now_us=NOW)
    assert isinstance(lengthened, EnvelopeRefused)


@pytest.mark.parametrize(
    "change",
    [
        {"dispatch_id": b"e" * 16},
        {"host": Identity.from_seed(b"i" * 32).peer_id},
        {"model_digest": b"n" * 32},
        {"expires_at_us": NOW + 2},
        {"seed": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_the_binding_is_bound(change: dict[str, Any]) -> None:
    other = dataclasses.replace(BINDING, **change)
    assert open_envelope(other, KEY, SEALED, now_us=NOW) == ALTERED


@given(bindings)
def test_no_other_binding_opens_it(other: EnvelopeBinding) -> None:
    now_us = min(NOW, other.expires_at_us - 1)
    expected: bytes | EnvelopeRefused = b"translate this" if other == BINDING else ALTERED
    assert open_envelope(other, KEY, SEALED, now_us=now_us) == expected


def test_another_host_cannot_open_it() -> None:
    assert open_envelope(BINDING, SealingKey.generate(), SEALED, now_us=NOW) == ALTERED


@pytest.mark.parametrize("late_us", [0, 1, 10**12])
def test_expired_is_refused(late_us: int) -> None:
    now_us = BINDING.expires_at_us + late_us
    assert open_envelope(BINDING, KEY, SEALED, now_us=now_us) == EnvelopeRefused("expired")


@pytest.mark.parametrize(
    ("text_bytes", "bucket"),
    [
        (0, 1024),
        (1020, 1024),
        (1021, 2048),
        (2044, 2048),
        (2045, 4096),
        (MAXIMUM_PLAINTEXT_BYTES, 1024 * 1024),
    ],
)
def test_size_shows_only_the_bucket(text_bytes: int, bucket: int) -> None:
    sealed = seal(BINDING, KEY.public_bytes, b"x" * text_bytes)
    assert len(sealed) == bucket + 48
    assert open_envelope(BINDING, KEY, sealed, now_us=NOW) == b"x" * text_bytes


def test_sizes_are_bounded() -> None:
    with pytest.raises(PlaintextTooLarge, match="split the chunk"):
        seal(BINDING, KEY.public_bytes, bytes(MAXIMUM_PLAINTEXT_BYTES + 1))
    huge = bytes(2 * 1024 * 1024 + 48)
    assert len(huge) > MAXIMUM_ENVELOPE_BYTES
    assert open_envelope(BINDING, KEY, huge, now_us=NOW) == EnvelopeRefused("malformed")


@pytest.mark.parametrize(
    "padded",
    [
        (1021).to_bytes(4, "big") + bytes(1020),
        (0xFFFFFFFF).to_bytes(4, "big") + bytes(1020),
        (3).to_bytes(4, "big") + b"abcd" + bytes(1016),
    ],
    ids=["length past the end", "huge length", "text behind the end"],
)
def test_a_sealer_that_pads_wrongly_is_refused(padded: bytes) -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    sealed = suite.encrypt(padded, KEY.private_key.public_key(), info=BINDING.info())
    assert open_envelope(BINDING, KEY, sealed, now_us=NOW) == EnvelopeRefused("malformed")


def test_two_envelopes_of_one_text_have_nothing_in_common() -> None:
    again = seal(BINDING, KEY.public_bytes, b"translate this")
    assert again[:32] != SEALED[:32]
    assert again[32:] != SEALED[32:]


def test_a_weak_sealing_key_is_refused() -> None:
    with pytest.raises(SealingKeyRefused):
        seal(BINDING, bytes(32), b"")
    with pytest.raises(SealingKeyRefused):
        seal(BINDING, bytes(31), b"")


@pytest.mark.parametrize(
    "change",
    [
        {"dispatch_id": b"d" * 15},
        {"model_digest": b"m" * 33},
        {"expires_at_us": -1},
        {"seed": -1},
        {"seed": 2**63},
    ],
    ids=str,
)
def test_a_binding_out_of_bounds_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"16 bytes|32 bytes|from 0"):
        dataclasses.replace(BINDING, **change)


def test_a_binding_names_a_real_peer() -> None:
    with pytest.raises(PeerIdError):
        dataclasses.replace(BINDING, host="somebody")
