import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.identifiers import Identifier, find_patterns
from peerllm.safety.own_terms import MAXIMUM_WORDS, OwnTerms, own_terms
from peerllm.safety.vault import Vault

ANN = "Ann Smith"
KEY = "ghp_zLPdVvKS634L74lD3z71nyyYdnAwplYJ"


class Finder:
    """The shipped patterns, one name and one town."""

    def find(self, text: str) -> tuple[Identifier, ...]:
        found = [*find_patterns(text)]
        for surface, kind in ((ANN, "PERSON"), ("Paris", "LOCATION"), ("Acme Bonn", "PERSON")):
            start = text.find(surface)
            if start >= 0:
                found.append(Identifier(start, start + len(surface), kind, 1.0))
        return tuple(sorted(found))


def terms(always: dict[str, list[str]] | None = None, never: tuple[str, ...] = ()) -> OwnTerms:
    made = own_terms(always or {}, never)
    assert isinstance(made, OwnTerms), made
    return made


def masked(text: str, own: OwnTerms) -> str:
    safe = Vault(Finder(), own=own)
    removed = safe.remove(text)
    assert safe.restore(removed) == text
    return removed


@pytest.mark.parametrize(
    ("term", "text", "expected"),
    [
        ("Blue Heron", "Is Blue Heron late?", "Is PROJECT_1 late?"),
        ("Blue Heron", "blue  \nheron's plan", "PROJECT_1's plan"),
        ("Blue Heron", "Blue Herons, BlueHeron, Blue-Heron", "Blue Herons, BlueHeron, Blue-Heron"),
        ("Blue Heron", "blue_heron", "blue_heron"),
        ("heron", "blue_heron", "blue_PROJECT_1"),
        ("heron", "\uff28\uff25\uff32\uff2f\uff2e her\u00adon her\u200bon",
         "PROJECT_1 PROJECT_1B PROJECT_1C"),
        ("Stra\u00dfe", "STRASSE", "PROJECT_1"),
        ("caf\u00e9", "cafe\u0301 cafes cafe", "PROJECT_1 cafes cafe"),
        ("C++", "C++ and C", "PROJECT_1 and C"),
        ("R&D (x)", "the r & d (X)", "the PROJECT_1"),
        ("\u30c6\u30b9\u30c8", "\u6f22\u30c6\u30b9\u30c8\u4e2d", "\u6f22PROJECT_1\u4e2d"),
        ("\u0939\u093f\u0928", "\u0939\u093f\u0928\u094d\u0926\u0940",
         "\u0939\u093f\u0928\u094d\u0926\u0940"),
        ("paris", "Paris", "PROJECT_1"),
        ("Ann", "Ann Smith called", "PROJECT_1 called"),
    ],
)  # fmt: skip
def test_an_own_term_is_masked_as_a_whole_word(term: str, text: str, expected: str) -> None:
    assert masked(text, terms({"PROJECT": [term]})) == expected


def test_overlapping_terms_are_all_masked() -> None:
    own = terms({"PROJECT": ["blue heron", "heron lake house"], "SITE": ["lake"]})
    assert masked("to Blue Heron Lake House", own) == "to PROJECT_1"
    assert masked("the lake, Heron Lake", own) == "the SITE_1, Heron SITE_1B"


@pytest.mark.parametrize(
    ("never", "text", "expected"),
    [
        (("ann smith",), "ANN, Ann Smith", "ANN, Ann Smith"),
        (("Ann",), "Ann Smith and Ann", "Ann PERSON_1 and Ann"),
        (("Smith",), "Ann Smith, and Smith", "PERSON_1 Smith, and Smith"),
        (("acme",), "Acme Bonn", "Acme PERSON_1"),
        (("Ann Smith, again",), "Ann Smith, again", "Ann Smith, again"),
        (("a@b-c.de",), "A@b-c.de", "A@b-c.de"),
        (("b-c.de",), "a@b-c.de", "EMAIL_1"),
        ((KEY,), f"with {KEY}", "with SECRET_1"),
        (("4111 1111 1111 1111",), "pay 4111 1111 1111 1111", "pay CARD_1"),
        (("DE89 3704 0044 0532 0130 00",), "to DE89 3704 0044 0532 0130 00", "to IBAN_1"),
        (("078-05-1120",), "ssn: 078-05-1120", "ssn: SSN_1"),
        (("postgres://me:pw@db.intern/x",), "at postgres://me:pw@db.intern/x", "at URL_1"),
    ],
)
def test_what_may_be_left_and_what_never(never: tuple[str, ...], text: str, expected: str) -> None:
    assert masked(text, terms(never=never)) == expected


def test_always_wins_over_never() -> None:
    own = terms({"PROJECT": ["heron"]}, ("Blue Heron", "Ann Smith"))
    assert masked("Blue Heron, Ann Smith", own) == "Blue PROJECT_1, Ann Smith"


@pytest.mark.parametrize(
    ("always", "never"),
    [
        ({"project": ["x"]}, ()),
        ({"PROJECT_": ["x"]}, ()),
        ({"P": ["x"]}, ()),
        ({"PERSON": ["x"]}, ()),
        ({"PROJECT": ["x"], "SITE": ["X"]}, ()),
        ({"PROJECT": ["--"]}, ()),
        ({"PROJECT": ["canary"]}, ("CANARY",)),
        ({}, ("",)),
        ({}, ("canary " * (MAXIMUM_WORDS + 1),)),
    ],
)
def test_terms_that_cannot_be_used(always: dict[str, list[str]], never: tuple[str, ...]) -> None:
    reason = own_terms(always, never)
    assert isinstance(reason, str)
    assert reason.endswith(".")
    assert "canary" not in reason.casefold()


def test_the_terms_are_not_shown() -> None:
    assert "heron" not in repr(terms({"PROJECT": ["heron"]}, ("heron lake",)))


def test_beginnings_of_terms_over_and_over_take_linear_work() -> None:
    own = terms({"PROJECT": ["a " * (MAXIMUM_WORDS - 1) + "b"]}, ("a a",))
    text = "a " * 20_000
    assert own.applied(text, ()) == ()
    assert len(own.without_left(text, [(0, len(text), "PERSON")])) == 0


WORDS = st.sampled_from(["blue", "HERON", "Ann", "Smith", "\u00df", "\u6f22", "e\u0301", "-", "_1",
                         "PROJECT", "PROJECT_1", " ", " ", "\u200b", "\ud800", KEY])  # fmt: skip
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=3)), max_size=12).map("".join)
SOME = st.lists(st.one_of(WORDS, st.text(min_size=1, max_size=3)), max_size=4)


@given(st.lists(TEXTS, max_size=3), SOME, SOME)
def test_restoring_gives_the_text_whatever_the_terms(
    texts: list[str], always: list[str], never: list[str]
) -> None:
    own = own_terms({"PROJECT": always}, never)
    safe = Vault(Finder(), own=own if isinstance(own, OwnTerms) else terms())
    safe.prepare(texts)
    removed = [safe.remove(text) for text in texts]
    assert [safe.restore(text) for text in removed] == texts


@given(st.text(alphabet=st.characters(categories=["Ll", "Lu"]), min_size=1, max_size=6), TEXTS)
def test_a_term_standing_alone_is_found_in_every_form(term: str, around: str) -> None:
    own = own_terms({"PROJECT": [term]}, ())
    assert isinstance(own, OwnTerms)
    # Not every letter's capital is its own: that of the dotless i is also that of i.
    capitals = term.upper() if term.upper().casefold() == term.casefold() else term
    for form in (term, capitals, unicodedata.normalize("NFD", term)):
        text = f"{around} {form} ."
        start = len(around) + 1
        found = own.applied(text, ())
        assert any(one.start <= start and one.end >= start + len(form) for one in found), form
