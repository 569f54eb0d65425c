from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.desktop.event_stream import (
    MAXIMUM_EVENT_BYTES,
    EventStream,
    EventStreamError,
    StreamEvent,
)

RAW = b': still here\n\nevent: status\ndata: {"a":1}\n\ndata: one\r\ndata:two\n\nevent: x\n\n'
EVENTS = [StreamEvent("status", b'{"a":1}'), StreamEvent("", b"one\ntwo")]


@given(st.lists(st.integers(0, len(RAW)), max_size=8))
def test_events_come_whole_however_they_are_cut(places: list[int]) -> None:
    stream, found = EventStream(), []
    cuts = [0, *sorted(places), len(RAW)]
    for start, end in pairwise(cuts):
        found += stream.feed(RAW[start:end])
    assert found == EVENTS


@given(st.binary(max_size=200))
def test_anything_can_be_fed(raw: bytes) -> None:
    for event in EventStream().feed(raw + b"\n\n"):
        assert event.data not in repr(event).encode() or len(event.data) < 8


@pytest.mark.parametrize("piece", [b"x", b"data: x\n"])
def test_an_endless_event_is_given_up(piece: bytes) -> None:
    stream = EventStream()
    half = piece * (MAXIMUM_EVENT_BYTES // len(piece) // 2)
    assert stream.feed(half) == []
    with pytest.raises(EventStreamError):
        stream.feed(half * 2)
