"""The file that a host is handed of a strike opens its commitment, and nothing else does."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.errors import Malformed
from peerllm.charter.log_entries import YEAR_2100_US
from peerllm.charter.strike_record import (
    MAXIMUM_OPENING_BYTES,
    StrikeRecord,
    Withdrawal,
    opening_of,
    read_opening,
    strike_entry,
    write_opening,
)

HOST = "12D3Koo" + "A" * 45
RECORD = StrikeRecord(
    number=7,
    host=HOST,
    region="north",
    rule="wrong_model",
    at_us=1_790_000_000_000_000,
    evidence_sha256="5" * 64,
    dispatch="0" * 32,
)
SALT = bytes(range(32))

records = st.builds(
    StrikeRecord,
    number=st.integers(1, 2**53 - 1),
    host=st.from_regex(r"12D3Koo[1-9A-HJ-NP-Za-km-z]{45}", fullmatch=True),
    region=st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True),
    rule=st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True),
    at_us=st.integers(0, YEAR_2100_US),
    evidence_sha256=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    dispatch=st.none() | st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    withdrawn=st.none()
    | st.builds(
        Withdrawal,
        at_us=st.integers(0, YEAR_2100_US),
        reason=st.from_regex(r"[a-z][a-z0-9_-]{0,63}", fullmatch=True),
    ),
)


@given(records, st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read_and_fits(record: StrikeRecord, salt: bytes) -> None:
    opening = opening_of(record, salt)
    raw = write_opening(opening)
    assert len(raw) <= MAXIMUM_OPENING_BYTES
    assert read_opening(raw) == opening


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_opening(raw)


def test_every_flipped_bit_and_every_half_of_the_file_is_refused() -> None:
    raw = write_opening(opening_of(RECORD, SALT))
    believed = read_opening(raw)
    for place in range(len(raw)):
        flipped = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            # Spaces around the values belong to no value.
            assert read_opening(flipped) == believed
        except Malformed:
            continue
        assert raw[place : place + 1] in (b" ", b"\n")
    for end in range(len(raw) - 1):
        with pytest.raises(Malformed, match="a part of one"):
            read_opening(raw[:end])
    with pytest.raises(Malformed, match="at most"):
        read_opening(raw + b" " * MAXIMUM_OPENING_BYTES)


def test_another_rule_or_salt_does_not_open_the_commitment() -> None:
    opening = opening_of(RECORD, SALT)
    for altered in (
        msgspec.structs.replace(
            opening, record=msgspec.structs.replace(RECORD, rule="malformed_frame")
        ),
        msgspec.structs.replace(opening, salt="0" * 64),
        msgspec.structs.replace(opening, commitment="0" * 64),
    ):
        with pytest.raises(Malformed, match="do not make the commitment"):
            read_opening(json.dumps(msgspec.to_builtins(altered)).encode())
    with pytest.raises(Malformed):
        write_opening(opening_of(msgspec.structs.replace(RECORD, host="p1"), SALT))


def test_a_withdrawal_is_an_entry_of_its_own() -> None:
    withdrawn = msgspec.structs.replace(
        RECORD, withdrawn=Withdrawal(at_us=RECORD.at_us + 5, reason="appeal_granted")
    )
    first, second = (strike_entry(opening_of(one, SALT)) for one in (RECORD, withdrawn))
    assert (first.at_us, second.at_us) == (RECORD.at_us, RECORD.at_us + 5)
    assert first.body != second.body
    assert HOST not in repr(first) + repr(second)
