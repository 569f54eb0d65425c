import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.errors import Malformed
from peerllm.charter.log import (
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
from peerllm.charter.log_entries import MAXIMUM_ENTRY_BYTES, kind_of, read_loosely
from peerllm.crypto.identity import Identity

DIGEST = "ab" * 32
HOST = Identity.from_seed(bytes(32)).peer_id
EVERY_KIND = {
    "charter-version": CharterVersion(version=2**31 - 1, sha256=DIGEST),
    "tariff-version": TariffVersion(version=1, sha256=DIGEST, valid_from_us=0),
    "payout-batch": PayoutBatch(
        region="a" * 63, batch="b" * 128, payouts=2**53 - 1, total_nano_usd=2**63 - 1, root=DIGEST
    ),
    "tier-change": TierChange(region="eu", host=HOST, before="community", after="trusted"),
    "strike-commitment": StrikeCommitment(region="eu", commitment=DIGEST),
    "fallback-window": FallbackWindow(region="eu", from_us=5, until_us=5, requests=0),
    "region-decision": RegionDecision(region="eu", decision="federated", sha256=DIGEST),
    "ballot": BallotEvent(ballot="2026-7", step="ratified", sha256=DIGEST),
}

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
regions = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,62}\Z")
some_entries = st.builds(
    Entry,
    at_us=st.integers(0, 4_102_444_800_000_000),
    body=st.builds(
        PayoutBatch,
        region=regions,
        batch=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"),
        payouts=st.integers(0, 2**53 - 1),
        total_nano_usd=st.integers(0, 2**63 - 1),
        root=digests,
    ),
)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_has_one_spelling(kind: str) -> None:
    entry = Entry(at_us=1_790_000_000_000_000, body=EVERY_KIND[kind])
    raw = write_entry(entry)
    assert read_entry(raw) == entry
    assert kind_of(entry) == kind == json.loads(raw)["body"]["kind"]
    assert raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":")).encode()
    assert len(raw) < MAXIMUM_ENTRY_BYTES / 4


@given(some_entries)
def test_entries_come_back_as_they_were(entry: Entry) -> None:
    assert read_entry(write_entry(entry)) == entry


@given(some_entries, st.data())
def test_an_altered_byte_is_refused_or_another_entry(entry: Entry, data: st.DataObject) -> None:
    raw = bytearray(write_entry(entry))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert write_entry(read_entry(bytes(raw))) == bytes(raw)
    except Malformed:
        return


@given(st.binary(max_size=300))
def test_bytes_are_an_entry_or_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_entry(raw)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"at_us": -1}, "at_us"),
        ({"at_us": 2**63}, "at_us"),
        ({"at_us": 1.5}, "at_us"),
        ({"at_us": True}, "at_us"),
        ({"note": "more"}, r"\$"),
        ({"body": {"kind": "rumour"}}, "body"),
        ({"body": {"kind": "strike-commitment", "region": "eu"}}, "body"),
        ({"body": {"kind": "strike-commitment", "region": "EU", "commitment": DIGEST}}, "region"),
        ({"body": {"kind": "strike-commitment", "region": "eu", "commitment": "AB" * 32}}, "commi"),
        (
            {"body": {"kind": "fallback-window", "region": "eu", "from_us": 2, "until_us": 1}},
            "body",
        ),
    ],
)
def test_wrong_values_are_refused_by_their_place(wrong: dict[str, object], place: str) -> None:
    good = msgspec.to_builtins(Entry(at_us=1, body=EVERY_KIND["strike-commitment"]))
    with pytest.raises(Malformed, match=place):
        read_loosely(json.dumps({**good, **wrong}).encode())


def test_a_window_does_not_end_before_it_begins() -> None:
    window = FallbackWindow(region="eu", from_us=2, until_us=1, requests=3)
    with pytest.raises(Malformed, match="ends before it begins"):
        write_entry(Entry(at_us=1, body=window))


def test_what_is_refused_is_not_quoted() -> None:
    with pytest.raises(Malformed) as refused:
        read_loosely(b'{"at_us": 1, "body": {"kind": "tell me a secret"}, "password": "hunter2"}')
    assert "secret" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b" " * 3_000, "at most"),
        (b"[" * 2_000, "wrong type"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_sizes_and_depths_are_bounded(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read_loosely(raw)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda raw: raw.replace(b":", b": "),
        lambda raw: raw.replace(b'{"at_us":1,', b"{").replace(b"}}", b'},"at_us":1}'),
        lambda raw: raw.replace(b'"at_us":1', b'"at_us":2,"at_us":1'),
        lambda raw: raw + b"\n",
        lambda raw: raw.replace(b'"eu"', b'"\\u0065u"'),
    ],
)
def test_another_spelling_is_read_from_people_and_refused_in_the_log(spelling: object) -> None:
    entry = Entry(at_us=1, body=EVERY_KIND["strike-commitment"])
    other = spelling(write_entry(entry))  # type: ignore[operator]
    assert read_loosely(other) == entry
    with pytest.raises(Malformed, match="one spelling"):
        read_entry(other)


def test_a_strike_opens_with_its_record_and_salt_alone() -> None:
    record, salt = b'{"host":"...","rule":"declared another model"}', bytes(range(32))
    commitment = commit_strike(record, salt)
    assert opens_strike(commitment, record, salt)
    assert not opens_strike(commitment, record + b" ", salt)
    assert not opens_strike(commitment, record, bytes(32))
    assert not opens_strike(commitment, record, b"short")
    assert not opens_strike("", record, salt)
    with pytest.raises(ValueError, match="32 bytes"):
        commit_strike(record, b"short")
