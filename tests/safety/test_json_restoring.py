import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.errors import StreamOrderError
from peerllm.safety.identifiers import Identifier
from peerllm.safety.json_restoring import JsonRestorer
from peerllm.safety.vault import Vault

NASTY = 'Ann "the\\n" O\\Neill\n\t\u2028'


class OneFinder:
    def __init__(self, surface: str) -> None:
        self._surface = re.compile(re.escape(surface))

    def find(self, text: str) -> tuple[Identifier, ...]:
        return tuple(Identifier(*m.span(), "PERSON", 1.0) for m in self._surface.finditer(text))


def vault(surface: str = NASTY) -> Vault:
    safe = Vault(OneFinder(surface))
    assert safe.remove(f"| {surface} |") == "| PERSON_1 |"
    return safe


def restored(answer: str, cuts: list[int], safe: Vault) -> str:
    restorer = JsonRestorer(safe)
    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in pairwise(edges)]
    return "".join([*map(restorer.push, pieces), restorer.finish()])


def with_originals(value: Any, surface: str) -> Any:
    match value:
        case str():
            return value.replace("PERSON_1", surface)
        case list():
            return [with_originals(item, surface) for item in value]
        case dict():
            return {
                with_originals(k, surface): with_originals(v, surface) for k, v in value.items()
            }
    return value


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_answer_stays_json_whatever_an_identifier_holds(step: int, ascii_only: bool) -> None:
    value = {
        "to": "PERSON_1",
        "PERSON_1": ["Dear\nPERSON_1, \\ / ü \U0001f600 \x01", 'PERSON_1"', "PERSON_2"],
        "n": [1.5e-3, True, None, {}],
    }
    answer = json.dumps(value, indent=1, ensure_ascii=ascii_only).replace("/", "\\/")
    back = restored(answer, list(range(0, len(answer), step)), vault())
    assert json.loads(back) == with_originals(value, NASTY)


PIECES = st.sampled_from(
    ["PERSON_1", "PERSON_", "person 1", "1", '"', "\\", "\n", "é", "\U0001f600", " ", "x"]
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)
SURFACES = st.text(st.sampled_from('Ab"\\\n\t\x00\x7f/\u2028é\U0001f600'), min_size=1, max_size=6)
CUTS = st.lists(st.integers(0, 80), max_size=6)


@given(st.dictionaries(TEXTS, TEXTS, max_size=3), SURFACES, CUTS, st.booleans())
def test_every_string_says_what_it_said_with_originals(
    value: dict[str, str], surface: str, cuts: list[int], ascii_only: bool
) -> None:
    surface = f"({surface})"
    answer = json.dumps(value, ensure_ascii=ascii_only)
    expected = {
        vault(surface).restore(key): vault(surface).restore(text) for key, text in value.items()
    }
    assert json.loads(restored(answer, cuts, vault(surface))) == expected


@given(st.text(st.sampled_from('"\\u00dP8 ERSON_1[]'), max_size=30), CUTS)
def test_what_is_no_json_passes_whole_however_it_is_cut(text: str, cuts: list[int]) -> None:
    safe = vault("(Ann)")
    whole = restored(text, [], safe)
    assert restored(text, cuts, safe) == whole
    whole.encode()
    if '"' not in text:
        assert whole == safe.restore(text)


def test_half_a_character_stays_an_escape() -> None:
    assert restored(r'"\ud83d PERSON_1"', [4], vault("(Ann)")) == r'"\ud83d (Ann)"'


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_string_that_had_to_end_names_nobody_else(step: int) -> None:
    names = [f"(Ann {letter})" for letter in "ABCDEFGHIJKL"]

    class NamesFinder:
        def find(self, text: str) -> tuple[Identifier, ...]:
            found = re.finditer(r"\(Ann [A-L]\)", text)
            return tuple(Identifier(*name.span(), "EMAIL", 1.0) for name in found)

    safe = Vault(NamesFinder())
    safe.remove(" ".join(names))
    # Room for seven characters: the last of them may be the first digit of EMAIL_12.
    answer = '["EMAIL_1", "EMAIL_2", "see EMAIL_1", "EMAIL_12"]'
    restorer = JsonRestorer(safe, longest=frozenset({7}))
    pieces = [answer[at : at + step] for at in range(0, len(answer), step)]
    back = "".join([*map(restorer.push, pieces), restorer.finish()])
    assert json.loads(back) == ["EMAIL_1", names[1], f"see {names[0]}", names[11]]


def test_the_end_is_the_end() -> None:
    restorer = JsonRestorer(vault())
    restorer.finish()
    with pytest.raises(StreamOrderError):
        restorer.push("x")
    with pytest.raises(StreamOrderError):
        restorer.finish()
    assert "Ann" not in repr(restorer)
