import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.privacy.event_log import EventLog


def logged(**fields: int | float | str | bool | None) -> dict[str, object]:
    stream = io.StringIO()
    EventLog(lambda: 7, stream).event("host_joined", **fields)
    (line,) = stream.getvalue().splitlines()
    parsed = json.loads(line)
    assert isinstance(parsed, dict)
    return parsed


def test_an_event_is_one_line_of_json() -> None:
    assert logged(host="12D3KooW", models=2, ok=True, nothing=None) == {
        "at_us": 7,
        "event": "host_joined",
        "host": "12D3KooW",
        "models": 2,
        "ok": True,
        "nothing": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        "my secret prompt",
        "two words",
        "line\nbreak",
        "tab\tbed",
        "geheim\N{LATIN SMALL LETTER U WITH DIAERESIS}",
        '"quoted"',
        "a" * 121,
        "\u2028",
        "a@b.example",
    ],
)
def test_a_sentence_cannot_be_logged(text: str) -> None:
    assert logged(reason=text)["reason"] == "<not loggable>"


@given(st.text(max_size=200))
def test_whatever_holds_white_space_or_more_than_ids_do_is_not_written(text: str) -> None:
    found = logged(reason=text)["reason"]
    assert found in {text, "<not loggable>"}
    if any(not (c.isascii() and (c.isalnum() or c in "_./:+,-")) for c in text):
        assert found == "<not loggable>"


@pytest.mark.parametrize("reason", ["closed_here", "slow_reader", "/ip4/127.0.0.1/tcp/80", ""])
def test_ids_reasons_and_addresses_are_logged(reason: str) -> None:
    assert logged(reason=reason)["reason"] == reason
