"""People, places, organisations and addresses, by a conditional random field over words.

What the detectors of patterns found enters as one token each, so that a name is known by the
e-mail address beside it. Trained by `benchmarks/safety/train_identifier_tagger.py`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pycrfsuite

from peerllm.safety.contact_detectors import NO_HANDLE
from peerllm.safety.errors import ModelFileError
from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.name_bounds import in_one_sentence
from peerllm.safety.token_features import Token, features, tokenize
from peerllm.safety.wordlists import word_list

TAGGED_KINDS: Final = ("PERSON", "LOCATION", "ORGANIZATION", "ADDRESS")
MODEL_PATH: Final = Path(__file__).parent / "data" / "identifier_tagger.crfsuite"

# A missed name leaves the house, a needless placeholder only blurs the prompt: a word counts as
# part of an identifier from this probability on.
DEFAULT_THRESHOLD: Final = 0.006
# Longer than any sentence of prose; keeps the tables of the model small on hostile text.
_SEQUENCE_TOKENS: Final = 400

_NAME: Final = re.compile(r"[^\W_]+")
_PUNCTUATION: Final = " ,;:!?\"'`()[]{}<>|*"
# What is no name though the model takes it for one, below which certainty: a very common word
# alone, or words of the dictionary in lower case; what holds no Latin letters, of which the model
# has seen hardly any, or looks like code; such words in lower case as are on a list of names, too;
# words in lower case that no list knows. Chosen on a fifth of the texts held out: in 266 requests
# that name nobody 73 finds became 14, and of WNUT's names .860 instead of .887 were found.
_DOUBTFUL: Final = 0.25
_SCARCELY: Final = 0.15
_COMMON_NAME: Final = 0.15
_UNLISTED: Final = 0.04
_BEGINS: Final = re.compile(r"(?:\A|[.!?\n]\s{0,2})\Z")
_LATIN: Final = re.compile(r"[A-Za-z\u00c0-\u024f]{2}")
_CODE: Final = re.compile(r"_|[a-z][A-Z]|\w\.\w|[()=]")
_VERSION: Final = re.compile(r"\w@v?[0-9]")
# Behind these "April" is somebody, and "Will" as well.
_CALLED: Final = re.compile(
    r"\b(?:dear|hi|hello|hey|mrs?\.?|ms\.?|my name is|named|called|patient:|my (?:wife|husband|son"
    r"|daughter|sister|brother|mother|father|boss|manager|colleague|friend|landlord|partner))"
    r",? \Z",
    re.IGNORECASE,
)
_CALLED_CHARACTERS: Final = 24
_BETWEEN_LINES: Final = re.compile(
    r"(?:[/-]\w{1,3})?[\s,]{1,4}(?:[0-9]{1,6}[A-Za-z]?(?:[/-]\w{1,3})?[\s,]{1,3}){0,2}"
)
_HOUSE_NUMBER: Final = re.compile(r"(?<![\w.,:/-])[0-9]{1,5}[A-Za-z]?(?:[/-]\w{1,3})?[ ,]{1,2}\Z")
_POSTAL_CODE: Final = re.compile(
    r" \([A-Z]{2}\)|(?:[\s,]{1,3}[^\W\d_][\w'-]{1,20}){0,4}[\s,]{1,3}"
    r"(?:[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}(?!\w)"
    r"|(?:[A-Z]{2} )?[0-9]{5}(?:-[0-9]{4})?(?!\w)(?: [^\W\d_a-z][\w-]{2,20}){0,2})"
)
_FLAT: Final = re.compile(
    r"\b(?:flat|studio|unit|suite|apartment|apt\.?|room|floor|house|block) \w{1,6}[\s,]{1,3}\Z",
    re.IGNORECASE,
)
_FLAT_CHARACTERS: Final = 24


def sequences(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The stretches of tokens that the model labels together."""
    for start in range(0, len(tokens), _SEQUENCE_TOKENS):
        yield tokens[start : start + _SEQUENCE_TOKENS]


def _trimmed(text: str, found: Identifier) -> Identifier:
    """Without the punctuation around it; a full stop may belong to an abbreviation."""
    value = text[found.start : found.end]
    start = found.start + len(value) - len(value.lstrip(_PUNCTUATION + "."))
    end = found.end - len(value) + len(value.rstrip(_PUNCTUATION))
    return Identifier(min(start, end), end, found.kind, found.score)


def _parts(text: str, found: Identifier) -> Iterable[Identifier]:
    # "St. John" and "12 Mill Road. Flat 3" are one address.
    return (found,) if found.kind == "ADDRESS" else in_one_sentence(text, found)


def _names_nobody(text: str, found: Identifier) -> bool:
    value, score = text[found.start : found.end], found.score
    words = _NAME.findall(value.casefold())
    marked = text.startswith("@", found.start - 1) and bool(words) and words[0] in NO_HANDLE
    if marked or _VERSION.search(value):
        return True
    if found.kind == "ADDRESS" and _is_a_sentence(value):
        return True
    if found.kind == "PERSON" and _is_called(text, found.start, words):
        return False
    if all(word in word_list("no_identifiers") or word in word_list("not_names") for word in words):
        return True
    if score < _DOUBTFUL and len(words) == 1 and words[0] in word_list("english_words"):
        return True
    if score < _SCARCELY and (not _LATIN.search(value) or _CODE.search(value)):
        return True
    # Where a sentence begins a capital tells nothing: "Thank you".
    told = len(words) > 1 or not _BEGINS.search(text, max(0, found.start - 3), found.start)
    if told and not value.islower():
        return False
    return score < _certainty_in_lower_case(words) and (value.islower() or _is_common(words))


def _is_called(text: str, start: int, words: Sequence[str]) -> bool:
    """Whether a given name stands where somebody is spoken to or of."""
    before = _CALLED.search(text, max(0, start - _CALLED_CHARACTERS), start)
    named = bool(words) and words[0] in word_list("given_names")
    return named and before is not None and text[start].isupper()


def _is_a_sentence(value: str) -> bool:
    """Whether it runs on in small letters and without a number, as addresses do not.

    Sentences in languages that the model never learnt look like streets to it.
    """
    words = _NAME.findall(value)
    capitals = sum(word[0].isupper() for word in words)
    return 2 * capitals < len(words) and not any(map(str.isdigit, value))


def _certainty_in_lower_case(words: Sequence[str]) -> float:
    """Below which certainty words that were written without a capital name nobody."""
    common = _is_common(words)
    if any(map(_is_listed, words)):
        return _COMMON_NAME if common else 0.0
    return _DOUBTFUL if common else _UNLISTED


def _is_common(words: Iterable[str]) -> bool:
    return all(word in word_list("dictionary") for word in words)


def _is_listed(word: str) -> bool:
    lists = ("given_names", "family_names", "places", "countries")
    return any(word in word_list(name) for name in lists)


def _whole_addresses(text: str, found: Iterable[Identifier]) -> Iterator[Identifier]:
    """Street, town and postal code, written one behind the other, are one address."""
    last: Identifier | None = None
    for one in found:
        if last is not None and _continues(text, last, one):
            last = Identifier(last.start, one.end, "ADDRESS", max(last.score, one.score))
            continue
        if last is not None:
            yield _with_its_ends(text, last)
        last = one
    if last is not None:
        yield _with_its_ends(text, last)


def _continues(text: str, last: Identifier, one: Identifier) -> bool:
    places = {"ADDRESS", "LOCATION"}
    between = _BETWEEN_LINES.fullmatch(text, last.end, one.start)
    if between is None or last.kind not in places or one.kind not in places:
        return False
    # Two towns in a list are not an address; what carries a number is.
    numbered = text[last.end : one.start].strip(" ,\n") or _house_number(text, last.start)
    return last.kind == "ADDRESS" or bool(numbered)


def _house_number(text: str, start: int) -> re.Match[str] | None:
    return _HOUSE_NUMBER.search(text, max(0, start - _FLAT_CHARACTERS), start)


def _with_its_ends(text: str, found: Identifier) -> Identifier:
    """An address with the flat and number before it, and the town and postal code behind it."""
    has_digits = any(mark.isdigit() for mark in text[found.start : found.end])
    if found.kind != "ADDRESS" and not (found.kind == "LOCATION" and has_digits):
        return found
    number = _house_number(text, found.start)
    start = found.start if number is None else number.start()
    flat = _FLAT.search(text, max(0, start - _FLAT_CHARACTERS), start)
    code = _POSTAL_CODE.match(text, found.end)
    start = start if flat is None else flat.start()
    return Identifier(start, found.end if code is None else code.end(), "ADDRESS", found.score)


class Tagger:
    """The trained model. Not for several threads at once. Raises `ModelFileError` if damaged."""

    def __init__(self, path: Path = MODEL_PATH, *, threshold: float = DEFAULT_THRESHOLD) -> None:
        self._tagger = pycrfsuite.Tagger()
        self._threshold = threshold
        try:
            self._tagger.open(str(path))
            self._labels = [label for label in self._tagger.labels() if label != "O"]
        except (OSError, ValueError) as error:
            raise ModelFileError(f"the model {path} cannot be read; install again") from error

    def find(self, text: str, known: Iterable[Identifier] = ()) -> Iterator[Identifier]:
        """Identifiers of the `TAGGED_KINDS` in `text`, given those already `known`."""
        found = (
            part
            for stretch in sequences(tokenize(text, known))
            if any(token.word[0].isalpha() for token in stretch)
            for identifier in self._spans(stretch, self._tagged(stretch))
            for part in _parts(text, _trimmed(text, identifier))
        )
        named = (one for one in found if not _names_nobody(text, one))
        return _whole_addresses(text, named)

    def _tagged(self, tokens: Sequence[Token]) -> list[tuple[str, float]]:
        tags = self._tagger.tag(features(tokens))
        tagged: list[tuple[str, float]] = []
        for index, tag in enumerate(tags):
            outside = self._tagger.marginal("O", index)
            best = tag
            if tag == "O" and 1 - outside >= self._threshold:
                marginal = self._tagger.marginal
                best = max(self._labels, key=lambda label: marginal(label, index))
            tagged.append((best, 1 - outside))
        return tagged

    @staticmethod
    def _spans(
        tokens: Sequence[Token], tagged: Sequence[tuple[str, float]]
    ) -> Iterator[Identifier]:
        start, end, kind, score = 0, 0, "", 0.0
        for token, (tag, probability) in zip(tokens, tagged, strict=True):
            if kind and tag == f"I-{kind}":
                end, score = token.end, max(score, probability)
                continue
            if kind:
                yield Identifier(start, end, kind, score)
            kind = "" if tag == "O" or token.kind else tag[2:]
            start, end, score = token.start, token.end, probability
        if kind:
            yield Identifier(start, end, kind, score)
