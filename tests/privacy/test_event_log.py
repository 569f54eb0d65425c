import errno
import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.privacy.event_log import EventLog, LibraryLog


def test_an_event_is_one_line_of_numbers_and_words() -> None:
    stream = io.StringIO()
    EventLog(lambda: 7, stream).event("chunk_finished", outcome="complete", completion_tokens=3)
    assert json.loads(stream.getvalue()) == {
        "at_us": 7,
        "event": "chunk_finished",
        "outcome": "complete",
        "completion_tokens": 3,
    }
    assert stream.getvalue().count("\n") == 1


def test_a_sentence_is_withheld() -> None:
    stream = io.StringIO()
    EventLog(lambda: 7, stream).event("crashed", place="my name is SECRET")
    assert "SECRET" not in stream.getvalue()


def test_what_libraries_log_loses_its_message() -> None:
    stream = io.StringIO()
    handler = LibraryLog(EventLog(lambda: 7, stream), "library_warning")
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        logger.warning("cannot parse %s", "SECRET")
    finally:
        logger.removeHandler(handler)
    line = json.loads(stream.getvalue())
    assert line["logger"] == "some.library"
    assert "SECRET" not in stream.getvalue()


def test_a_closed_stream_costs_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    log = EventLog[str](lambda: 7, stream)
    stream.close()
    log.event("chunk_accepted")


class FillingDisk(io.StringIO):
    is_full = False

    def flush(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space left on device")


def test_a_full_disk_costs_lines_and_says_how_many() -> None:
    stream = FillingDisk()
    log = EventLog[str](lambda: 7, stream)
    stream.is_full = True
    log.event("chunk_accepted")
    log.event("chunk_finished")
    stream.is_full = False
    log.event("connected")
    log.event("disconnected")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("lost_lines") for line in lines[-2:]] == [2, None]


def written(reason: str) -> object:
    stream = io.StringIO()
    EventLog(lambda: 7, stream).event("crashed", reason=reason)
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)["reason"]


@pytest.mark.parametrize(
    "text",
    [
        "two words",
        "line\nbreak",
        "tab\tbed",
        "geheim\N{LATIN SMALL LETTER U WITH DIAERESIS}",
        '"quoted"',
        "a" * 129,
        "\u2028",
        "a@b.example",
    ],
)
def test_what_no_id_holds_is_withheld(text: str) -> None:
    assert written(text) == "<withheld>"


@given(st.text(max_size=200))
def test_any_text_is_written_as_one_word_or_withheld(text: str) -> None:
    found = written(text)
    assert found in {text, "<withheld>"}
    if any(not (c.isascii() and (c.isalnum() or c in "_./:+,-")) for c in text):
        assert found == "<withheld>"


@pytest.mark.parametrize("reason", ["closed_here", "/ip4/127.0.0.1/tcp/80", ""])
def test_ids_reasons_and_addresses_are_written(reason: str) -> None:
    assert written(reason) == reason
