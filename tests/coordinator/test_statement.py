from typing import Any

import msgspec
import pytest

from peerllm.coordinator.ledger import Leg
from peerllm.coordinator.orders import HostRun
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.statement import (
    KEPT_STATEMENTS,
    Statement,
    Statements,
    host_line,
    paid_by_host,
)

ADA, BOB = "customers/ada", "customers/bob"


def run(**fields: Any) -> HostRun:
    values: dict[str, Any] = {
        "host": "h1",
        "operator": "ada",
        "dedicated": False,
        "dispatch": b"d" * 16,
        "won": True,
        "failure": None,
        "counted_tokens": 11,
        "released_tokens": 11,
        "receipt": None,
        "signed_receipt": None,
        "started_at": 100.5,
        "first_token_seconds": 1.0,
        "duration_seconds": 3.0,
    }
    return HostRun(**(values | fields))


def statement(name: str = "r1") -> Statement:
    return Statement(
        id=name,
        model="toy",
        prompt_tokens=1,
        completion_tokens=2,
        charge_nano_usd=100,
        host_share_nano_usd=95,
        margin_nano_usd=5,
        unclaimed_nano_usd=0,
        paid_nano_usd={"h1": 95},
        tier="standard",
        tariff_version=1,
        quote_id=None,
        fallback=False,
        chunks=[],
        coordinator_ms={},
    )


def test_a_run_in_numbers() -> None:
    line = host_line(run(), 100.0)
    assert (line.started_ms, line.first_token_ms, line.duration_ms) == (500, 1000, 3000)
    assert line.tokens_per_second_milli == 5000
    assert line.receipt is False
    assert line.dispatch_id == "64" * 16


@pytest.mark.parametrize(
    "fields",
    [
        {"first_token_seconds": None},
        {"counted_tokens": 1},
        {"counted_tokens": 0},
        {"first_token_seconds": 3.0},
    ],
)
def test_a_rate_that_cannot_be_told_is_left_out(fields: dict[str, Any]) -> None:
    assert host_line(run(**fields), 100.0).tokens_per_second_milli is None


def test_hosts_that_worked_for_nothing_are_listed() -> None:
    legs = (Leg("hosts/h1", 95), Leg("network/margin", 5))
    settlement = Settlement(charge=100, host_share=95, margin=5, legs=legs)
    assert paid_by_host(settlement, {"h2", "h1"}) == {"h1": 95, "h2": 0}


def test_a_statement_is_shown_to_its_own_account_alone() -> None:
    statements = Statements()
    statements.keep(ADA, statement())
    assert statements.find(ADA, "r1") == statement()
    assert statements.find(BOB, "r1") is None
    assert statements.find(ADA, "r2") is None


def test_the_oldest_are_forgotten() -> None:
    statements = Statements()
    for number in range(KEPT_STATEMENTS + 3):
        statements.keep(ADA, statement(f"r{number}"))
    assert statements.find(ADA, "r2") is None
    assert statements.find(ADA, "r3") is not None


def test_a_statement_holds_numbers_and_names_only() -> None:
    sent = msgspec.json.decode(msgspec.json.encode(statement()))
    assert sent["paid_nano_usd"] == {"h1": 95}
    assert not {"prompt", "answer", "text", "content", "messages"} & set(sent)
