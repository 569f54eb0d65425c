import io
import json
import logging

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
