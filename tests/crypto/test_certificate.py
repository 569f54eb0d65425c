import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.crypto.certificate import (
    CLOCK_TOLERANCE_US,
    MAXIMUM_LIFETIME_US,
    CertificateRefused,
    SealingCertificate,
    SealingKey,
    certify,
    read_certificate,
)
from peerllm.crypto.encoding import encode
from peerllm.crypto.errors import SealingKeyRefused
from peerllm.crypto.identity import Identity
from peerllm.crypto.signed import sign_blob

HOST = Identity.from_seed(b"h" * 32)
OTHER = Identity.from_seed(b"o" * 32)
KEY = SealingKey.generate()
ISSUED = 1_700_000_000_000_000
EXPIRES = ISSUED + 3_600_000_000
RAW = certify(HOST, KEY.public_bytes, issued_at_us=ISSUED, expires_at_us=EXPIRES)

# RFC 7748, section 7 and https://cr.yp.to/ecdh.html#validate: points of small order.
WEAK_POINTS = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def _signed(
    *,
    peer_id: str = HOST.peer_id,
    sealing_key: bytes = KEY.public_bytes,
    issued_at_us: int = ISSUED,
    expires_at_us: int = EXPIRES,
) -> bytes:
    body = SealingCertificate(
        peer_id=peer_id,
        sealing_key=sealing_key,
        issued_at_us=issued_at_us,
        expires_at_us=expires_at_us,
    )
    return sign_blob(HOST, "sealing-certificate/1", encode(body))


def test_certificate_is_accepted_from_its_own_peer() -> None:
    assert read_certificate(RAW, peer_id=HOST.peer_id, now_us=ISSUED) == SealingCertificate(
        peer_id=HOST.peer_id,
        sealing_key=KEY.public_bytes,
        issued_at_us=ISSUED,
        expires_at_us=EXPIRES,
    )


def test_certificate_of_another_peer_is_refused() -> None:
    refused = read_certificate(RAW, peer_id=OTHER.peer_id, now_us=ISSUED)
    assert refused == CertificateRefused("bad_signature")


def test_peer_cannot_certify_for_another() -> None:
    raw = _signed(peer_id=OTHER.peer_id)
    refused = read_certificate(raw, peer_id=HOST.peer_id, now_us=ISSUED)
    assert refused == CertificateRefused("wrong_peer")


@given(st.integers(0, len(RAW) * 8 - 1))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    altered = bytearray(RAW)
    altered[bit // 8] ^= 1 << bit % 8
    result = read_certificate(bytes(altered), peer_id=HOST.peer_id, now_us=ISSUED)
    assert isinstance(result, CertificateRefused)


@given(st.integers(0, len(RAW) - 1))
def test_truncated_is_refused(cut: int) -> None:
    result = read_certificate(RAW[:cut], peer_id=HOST.peer_id, now_us=ISSUED)
    assert result == CertificateRefused("malformed")


@given(st.binary(max_size=300))
def test_garbage_is_refused(raw: bytes) -> None:
    result = read_certificate(raw, peer_id=HOST.peer_id, now_us=ISSUED)
    assert isinstance(result, CertificateRefused)


def test_validity_begins_within_clock_tolerance_and_ends_exactly() -> None:
    early = ISSUED - CLOCK_TOLERANCE_US
    for now_us, accepted in [
        (early - 1, "not_yet_valid"),
        (early, None),
        (EXPIRES - 1, None),
        (EXPIRES, "expired"),
    ]:
        result = read_certificate(RAW, peer_id=HOST.peer_id, now_us=now_us)
        assert (result.reason if isinstance(result, CertificateRefused) else None) == accepted


@pytest.mark.parametrize("lifetime_us", [0, -1, MAXIMUM_LIFETIME_US + 1])
def test_lifetime_out_of_bounds_is_neither_made_nor_accepted(lifetime_us: int) -> None:
    expires = ISSUED + lifetime_us
    with pytest.raises(ValueError, match="microseconds"):
        certify(HOST, KEY.public_bytes, issued_at_us=ISSUED, expires_at_us=expires)
    result = read_certificate(_signed(expires_at_us=expires), peer_id=HOST.peer_id, now_us=ISSUED)
    assert result == CertificateRefused("lifetime_out_of_bounds")


@pytest.mark.parametrize("point", WEAK_POINTS, ids=lambda point: point.hex()[:8])
def test_weak_sealing_keys_are_neither_certified_nor_accepted(point: bytes) -> None:
    with pytest.raises(SealingKeyRefused):
        certify(HOST, point, issued_at_us=ISSUED, expires_at_us=EXPIRES)
    result = read_certificate(_signed(sealing_key=point), peer_id=HOST.peer_id, now_us=ISSUED)
    assert result == CertificateRefused("weak_sealing_key")


def test_a_signed_body_that_is_not_canonical_is_refused() -> None:
    body = SealingCertificate(
        peer_id=HOST.peer_id,
        sealing_key=KEY.public_bytes,
        issued_at_us=ISSUED,
        expires_at_us=EXPIRES,
    )
    raw = encode(body)
    padded = bytes([raw[0] + 1]) + raw[1:] + b"\xa1x\xa6hidden"
    blob = sign_blob(HOST, "sealing-certificate/1", padded)
    result = read_certificate(blob, peer_id=HOST.peer_id, now_us=ISSUED)
    assert result == CertificateRefused("malformed")


def test_repr_of_the_sealing_key_shows_only_its_public_half() -> None:
    private = KEY.private_key.private_bytes_raw()
    assert repr(KEY) == f"SealingKey(public={KEY.public_bytes.hex()})"
    assert private.hex() not in repr(KEY)
