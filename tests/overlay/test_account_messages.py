import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.overlay.account_messages import (
    Account,
    AccountAsked,
    AccountNotTold,
    AppealMade,
    StrikeTold,
)
from peerllm.overlay.errors import FrameError
from peerllm.overlay.messages import (
    MAXIMUM_HOST_FRAME_BYTES,
    CoordinatorMessage,
    HostMessage,
    coordinator_message,
    host_message,
    to_bytes,
)
from tests.overlay.account_samples import ACCOUNT, USD

MOST = 2**63 - 1
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_the_question_and_both_answers_survive_the_wire() -> None:
    questions: list[HostMessage] = [AccountAsked(), AppealMade(strike=7)]
    for question in questions:
        assert host_message(to_bytes(question)) == question
    answers: list[CoordinatorMessage] = [ACCOUNT, AccountNotTold(reason="too_often")]
    for answer in answers:
        assert coordinator_message(to_bytes(answer)) == answer


@given(
    balance=st.integers(0, MOST),
    escrow=st.integers(0, MOST),
    trusted_from=st.none() | st.integers(0, 4_102_444_800_000_000),
    rules=st.lists(st.text("abc_ ~!", min_size=1, max_size=128), max_size=16),
)
@settings(max_examples=60)
def test_every_account_within_its_bounds_survives_the_wire(
    balance: int, escrow: int, trusted_from: int | None, rules: list[str]
) -> None:
    account = msgspec.structs.replace(
        ACCOUNT,
        balance=balance,
        in_escrow=escrow,
        trusted_from_us=trusted_from,
        strikes=[StrikeTold(rule=rule, at_us=1, appeal_until_us=2, weight=0) for rule in rules],
    )
    assert coordinator_message(to_bytes(account)) == account


@given(field=st.sampled_from(Account.__struct_fields__), value=JUNK)
@settings(max_examples=150)
def test_whatever_stands_in_a_field_it_is_an_account_or_refused(field: str, value: object) -> None:
    raw = msgpack.packb(msgpack.unpackb(to_bytes(ACCOUNT)) | {field: value})
    try:
        found = coordinator_message(raw)
    except FrameError:
        return
    assert isinstance(found, Account)
    assert coordinator_message(to_bytes(found)) == found


@pytest.mark.parametrize("strike", [0, -1, 2**53, "7", None, 1.5])
def test_an_appeal_is_against_a_strike_by_its_number(strike: object) -> None:
    with pytest.raises(FrameError):
        host_message(msgpack.packb({"type": "appeal_made", "strike": strike}))


@pytest.mark.parametrize(
    "fields",
    [
        {"balance": -1},
        {"balance": 2**63},
        {"balance": 1.5},
        {"as_of_us": 4_102_444_800_000_001},
        {"releases": [{"at_us": 1, "amount": 1}] * 13},
        {"payouts": [{"batch": "b", "at_us": 1, "amount": 1}] * 13},
        {"payouts": [{"batch": "\x1b[2J", "at_us": 1, "amount": 1}]},
        {"days": [{"begins_us": 0, "amount": 1}] * 32},
        {"strikes": [{"rule": "r", "at_us": 1, "appeal_until_us": 1, "weight": 1}] * 17},
        {"strikes": [{"rule": "two\nlines", "at_us": 1, "appeal_until_us": 1, "weight": 1}]},
    ],
    ids=str,
)
def test_what_is_out_of_bounds_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        coordinator_message(msgpack.packb(msgpack.unpackb(to_bytes(ACCOUNT)) | fields))


def test_unknown_fields_are_ignored() -> None:
    later = msgpack.unpackb(to_bytes(ACCOUNT)) | {"added_later": {"a": [USD]}}
    later["region"]["steward"] = "ada"
    assert coordinator_message(msgpack.packb(later)) == ACCOUNT
    assert host_message(msgpack.packb({"type": "account_asked", "of": "another"})) == AccountAsked()


def test_the_longest_account_is_a_small_frame() -> None:
    full = msgspec.structs.replace(
        ACCOUNT,
        releases=ACCOUNT.releases[:1] * 12,
        payouts=ACCOUNT.payouts * 12,
        days=ACCOUNT.days[:1] * 31,
        strikes=[msgspec.structs.replace(ACCOUNT.strikes[0], rule="r" * 128)] * 16,
    )
    assert len(to_bytes(full)) < MAXIMUM_HOST_FRAME_BYTES // 16
