import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.cli.retention import Finding, find_content, needles_in

SECRET = 'the caf\N{LATIN SMALL LETTER E WITH ACUTE} at "Rosa\'s" owes me/us 40+2 euros'
NEEDLES = needles_in(SECRET)
FORMS = {
    "utf-8": SECRET.encode(),
    "utf-16 little": SECRET.encode("utf-16-le"),
    "utf-16 big": SECRET.encode("utf-16-be"),
    "utf-16 with mark": SECRET.encode("utf-16"),
    "json": json.dumps({"content": SECRET}).encode(),
    "json in utf-8": json.dumps({"content": SECRET}, ensure_ascii=False).encode(),
    "python": repr([SECRET]).encode(),
    "hex": SECRET.encode().hex().encode(),
    "hex upper": SECRET.encode().hex().upper().encode(),
    "url": quote(SECRET).encode(),
    "url without slash": quote(SECRET, safe="").encode(),
    "form": quote_plus(SECRET).encode(),
    "base64": base64.b64encode(SECRET.encode()),
    "base64 behind one": base64.b64encode(b"x" + SECRET.encode()),
    "base64 behind two": base64.b64encode(b"xy" + SECRET.encode()),
    "base64 within": base64.b64encode(b"before " + SECRET.encode() + b" behind"),
    "base64 for urls": base64.urlsafe_b64encode(b"ab" + SECRET.encode() + b"??>>"),
}


def test_needles_are_runs_of_words() -> None:
    assert needles_in("one two three four five six") == (
        "one two three four five",
        "two three four five six",
    )
    assert needles_in("a rather short text") == ("a rather short text",)
    assert needles_in("  padded but short  ") == ("padded but short",)


@pytest.mark.parametrize("text", ["", "short", "a b c d e", "   "])
def test_what_is_nobodys_is_no_needle(text: str) -> None:
    assert needles_in(text) == ()


@pytest.mark.parametrize("form", FORMS)
def test_planted_content_is_found_in_every_form(tmp_path: Path, form: str) -> None:
    nested = tmp_path / "data" / "deep"
    nested.mkdir(parents=True)
    (nested / "file.bin").write_bytes(b"\0\xff noise " + FORMS[form] + b" noise \0")
    found = find_content(NEEDLES, tmp_path, {})
    assert {finding.place for finding in found} == {"data/deep/file.bin"}


@pytest.mark.parametrize("form", FORMS)
def test_planted_content_is_found_in_named_texts(tmp_path: Path, form: str) -> None:
    texts = {"log": b"clean", "metrics": b"line\n" + FORMS[form]}
    assert {f.place for f in find_content(NEEDLES, tmp_path, texts)} == {"metrics"}


def test_a_finding_does_not_repeat_the_content(tmp_path: Path) -> None:
    found = find_content(NEEDLES, tmp_path, {"log": FORMS["utf-8"]})
    assert Finding(place="log", form="utf-8") in found
    assert "euros" not in repr(found)
    assert "owes" not in repr(found)


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "log").write_bytes(b'{"event": "host_joined", "models": 2}\n' * 1000)
    (tmp_path / "random").write_bytes(bytes(range(256)) * 500)
    (tmp_path / "base64").write_bytes(base64.b64encode(bytes(range(256)) * 500))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert find_content(NEEDLES, tmp_path, {"metrics": b"peerllm_hosts 2\n"}) == []


@pytest.mark.parametrize("needle", ["", "a", "ab", "abc", "abcd", "twelve chars"])
def test_a_short_needle_is_not_found_where_it_is_not(tmp_path: Path, needle: str) -> None:
    assert find_content([needle], tmp_path, {"log": b"0123456789"}) == []


@pytest.mark.parametrize("needle", ["canary", "canaryprompt"])
def test_a_short_needle_is_found_where_it_is(tmp_path: Path, needle: str) -> None:
    assert find_content([needle], tmp_path, {"log": b"<" + needle.encode() + b">"})


def test_content_of_short_lines_is_found_as_it_was_written(tmp_path: Path) -> None:
    address = "Rosa Malone\n12 Harbour Street\nGalway\nIreland"
    needles = needles_in(address)
    assert find_content(needles, tmp_path, {"dump": b"to: " + address.encode()})
    assert find_content(needles, tmp_path, {"log": json.dumps({"x": address}).encode()})
    assert find_content(needles, tmp_path, {"words": " ".join(address.split()).encode()})


@given(
    words=st.lists(st.text(min_size=3, max_size=9).filter(str.strip), min_size=5, max_size=12),
    form=st.sampled_from(["utf-8", "json", "hex", "base64"]),
    shift=st.integers(0, 5),
)
def test_any_text_is_found_again(words: list[str], form: str, shift: int) -> None:
    text = " ".join(words)
    needles = needles_in(text)
    if not needles:
        return
    raw = text.encode()
    kept = {
        "utf-8": raw,
        "json": json.dumps(text).encode(),
        "hex": raw.hex().encode(),
        "base64": base64.b64encode(b"z" * shift + raw),
    }[form]
    assert find_content(needles, Path("/nonexistent"), {"log": kept})
