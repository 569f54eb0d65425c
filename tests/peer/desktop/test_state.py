import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.control_api import LogLines, Status
from peerllm.peer.desktop.state import (
    MAXIMUM_ANSWER_BYTES,
    Ending,
    WorkRate,
    ending_after,
    ending_of,
    parsed,
)


def line(event: str, **fields: object) -> str:
    return json.dumps({"at_us": 1, "event": event, **fields})


@given(st.binary(max_size=100) | st.text(max_size=60).map(lambda text: json.dumps(text).encode()))
def test_whatever_a_host_sends_is_a_status_or_nothing(raw: bytes) -> None:
    assert parsed(raw, Status) is None
    assert ending_after(Ending("connected"), raw) == Ending("connected")


def test_an_answer_is_bounded_and_may_not_be_nested_without_end() -> None:
    assert parsed(b'"' + b"x" * MAXIMUM_ANSWER_BYTES + b'"', str) is None
    assert parsed(b"[" * 100_000, Status) is None


def test_the_last_word_of_the_coordinator_is_known_from_the_log() -> None:
    lines = [
        line("starting"),
        line("connected"),
        line("refused_by_coordinator", reason="no_seat"),
        line("disconnected", reason="refused"),
        line("chunk_finished", outcome="complete"),
    ]
    assert ending_of(LogLines(lines=lines)) == Ending("refused_by_coordinator", "no_seat")
    again = [*lines, line("unreachable", attempt=3)]
    assert ending_of(LogLines(lines=again)) == Ending("unreachable")
    assert ending_of(LogLines(lines=[*again, line("connected")])) == Ending("connected")
    assert ending_of(LogLines(lines=["not JSON", "{}", "[]"])) == Ending()


@pytest.mark.parametrize(
    ("samples", "now", "rate"),
    [
        ([], 0, 0),
        ([(0, 50)], 10, 0),
        ([(0, 0), (10, 600)], 10, 10),
        # What was done before the minute does not count.
        ([(0, 0), (10, 600), (100, 600)], 100, 0),
        ([(0, 0), (10, 600), (100, 1200)], 100, 10),
        # The host has started anew.
        ([(0, 900), (10, 60), (20, 120)], 20, 1),
        ([(0, 0), (10, 600)], 200, 0),
    ],
)
def test_now_is_the_last_minute(samples: list[tuple[float, int]], now: float, rate: float) -> None:
    found = WorkRate()
    for at, tokens in samples:
        found = found.after(at, tokens)
    assert found.per_second(now) == rate
    assert len(found.samples) <= len(samples)
