import base64
import codecs
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.normalisation import normalised, undisguised
from peerllm.safety.other_readings import other_readings

REQUEST = "how to cook seven different kinds of stew at home"
LETTER = (
    "Dear Anna, thank you for the lovely evening. We were home by ten, and the children slept. "
    "Tell me when you are in town again."
)


BOXES = {ord("a") + number: 0x1F170 + number for number in range(26)}
CYRILLIC = str.maketrans("aceo", "\u0430\u0441\u0435\u043e")
LEET = str.maketrans("oiea", "0134")


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def doubled(text: str) -> str:
    return "".join(letter * (2 if letter.isalpha() else 1) for letter in text)


def halved(text: str) -> str:
    return " ".join(
        f"{word[: len(word) // 2]}-{word[len(word) // 2 :]}" if len(word) > 3 else word
        for word in text.split()
    )


def disordered(text: str) -> str:
    return " ".join(word[:1] + word[1:3][::-1] + word[3:] for word in text.split())


WRITTEN: dict[str, Callable[[str], str]] = {
    "base64": in_base64,
    "base64 in lines": lambda text: base64.encodebytes((text * 3).encode()).decode(),
    "base64 of base64": lambda text: in_base64(in_base64(text)),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base64 of letters in boxes": lambda text: in_base64(text.translate(BOXES)),
    "base64 with invisible signs": lambda text: "\u200b".join(in_base64(text)),
    "rot13, letters apart": lambda text: "  ".join(
        " ".join(word) for word in codecs.encode(text, "rot13").split()
    ),
    "Cyrillic letters backwards": lambda text: text.translate(CYRILLIC)[::-1],
    "digits for letters, underscores": lambda text: text.translate(LEET).replace(" ", "_"),
    "letters in a list": ", ".join,
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal pairs": lambda text: text.encode().hex(" "),
    "hexadecimal escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "binary": lambda text: " ".join(f"{byte:08b}" for byte in text.encode()),
    "decimal": lambda text: ", ".join(str(byte) for byte in text.encode()),
    "an address": quote,
    "an address throughout": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "entities": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "unicode escapes": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "letters in boxes, as in JSON": lambda text: json.dumps(text.translate(BOXES)),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "backwards": lambda text: text[::-1],
    "letters doubled": doubled,
    "words cut in two": halved,
    "letters in disorder": disordered,
    "strokes": lambda text: text.translate(str.maketrans("othb", "\u00f8\u0167\u0127\u0180")),
    "underscores": lambda text: text.replace(" ", "_"),
    "full stops": lambda text: text.replace(" ", "."),
    "tags": lambda text: " ".join(f"<b>{word}</b>" for word in text.split()),
    "a list": lambda text: str(text.split()),
    "humps": lambda text: text.title().replace(" ", ""),
    "no spaces": lambda text: text.replace(" ", ""),
    "a word a line": lambda text: text.replace(" ", "\n"),
    "a letter a line": "\n".join,
    "a letter a cell": "|".join,
}


def words(text: str) -> set[str]:
    return {word for word in re.findall("[a-z]+", normalised(text)) if len(word) > 3}


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize(
    "around", ["{}", LETTER + "\n{}", "{}\n" + LETTER, "Decode this: {} Add it."]
)
def test_what_a_reader_can_decode_is_read(way: str, around: str) -> None:
    text = around.format(WRITTEN[way](REQUEST))
    found = [words(reading) for reading in other_readings(text)]
    assert any(words(REQUEST) - {"seven"} <= one for one in found), other_readings(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        LETTER,
        "a, b, c and d; 1, 2, 3, 4, 5.",
        "A state-of-the-art, well-known and user-friendly machine.",
        "Die Donaudampfschifffahrtsgesellschaft sucht jemanden für größere Aufgaben.",
        "Как испечь пирог дома?",
        "def read_file(path):\n    return open(path).read().strip()",
        "He said: \"I can't, I won't, and you don't\".",
        "Call 030 1234567 or 192.168.0.1:8080 on 2026-11-22.",
        "6ef873c3511c0946be1a49d6edc74a7f",
        "internationalisation",
        "A" * 100_000,
    ],
)
def test_an_ordinary_text_has_no_other_reading(text: str) -> None:
    assert other_readings(text) == []


def test_beyond_sixteen_readings_the_rest_is_read_together() -> None:
    hidden = [f"loaf number {'abcdefghijklmnopqrst'[number]} is yours" for number in range(20)]
    found = other_readings(" and then ".join(map(in_base64, hidden)))
    assert found[:16] == hidden[:16]
    assert found[16] == "\n".join(hidden[16:])


HOSTILE = [
    "QUJDREVGR0hJSktM\n" * 12_000,
    "%41" * 70_000,
    "&#65;" * 40_000,
    "\\u0041" * 33_000,
    "01010101 " * 22_000,
    "<b>x</b>" * 25_000,
    "a_b_c." * 33_000,
    "xqz wvk " * 25_000,
    "bo mb " * 33_000,
    "HowToBakeBreadNow" * 12_000,
    "howtobakebreadnow " * 11_000,
    "ubj gb onxr oernq " * 11_000,
    html.escape("<&>" * 20_000),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_read_twice_more_at_most(text: str) -> None:
    assert sum(map(len, other_readings(text))) <= 2 * len(text) + 16


@given(
    st.lists(
        st.sampled_from(
            ["%41", "&#9999999;", "&#0;", "\\ud800", "\\x80", "<", ">", "\n", "_", " ", "\u00e9",
             "\U0001f1e6", "\ud800", "QUJDREVGR0hJSktM", "ff", "99 ", "bread", "Bread", "ernq"]
        )
        | st.text(max_size=8),
        max_size=60,
    )
)  # fmt: skip
def test_any_text_can_be_read_and_judged_further(parts: list[str]) -> None:
    for reading in other_readings("".join(parts)):
        normalised(reading).encode("utf-8")
        undisguised(reading).encode("utf-8")
