"""People, places, organisations and addresses, by a conditional random field over words.

What the detectors of patterns found enters as one token each, so that a name is known by the
e-mail address beside it. Trained by `benchmarks/safety/train_identifier_tagger.py`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pycrfsuite

from peerllm.safety.errors import ModelFileError
from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.wordlists import word_list

TAGGED_KINDS: Final = ("PERSON", "LOCATION", "ORGANIZATION", "ADDRESS")
MODEL_PATH: Final = Path(__file__).parent / "data" / "identifier_tagger.crfsuite"

# A missed name leaves the house, a needless placeholder only blurs the prompt: a word counts as
# part of an identifier from this probability on.
DEFAULT_THRESHOLD: Final = 0.12
# Longer than any sentence of prose; keeps the tables of the model small on hostile text.
_SEQUENCE_TOKENS: Final = 400
_FEATURE_CHARACTERS: Final = 24

_TOKEN: Final = re.compile(r"\w+|[^\w\s]+")
_NAME: Final = re.compile(r"[^\W_]+")
_PUNCTUATION: Final = " ,;:!?\"'`()[]{}<>|*"
# A common word alone is no name below this certainty.
_DOUBTFUL: Final = 0.25
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
# The model's library speaks UTF-8 and C strings: it takes neither lone surrogates nor NUL.
_UNSPEAKABLE: Final = re.compile("[\ud800-\udfff\x00]")


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A word, a run of punctuation, or the whole of an identifier of `kind`."""

    start: int
    end: int
    word: str
    kind: str
    new_line: bool


def tokenize(text: str, known: Iterable[Identifier] = ()) -> list[Token]:
    """The tokens of `text`; each of the `known` identifiers, which do not overlap, is one."""
    tokens: list[Token] = []
    position = 0

    def add(start: int, end: int, word: str, kind: str) -> None:
        new_line = "\n" in text[tokens[-1].end if tokens else 0 : start]
        tokens.append(Token(start, end, word, kind, new_line))

    def add_words(end: int) -> None:
        for found in _TOKEN.finditer(text, position, end):
            word = _UNSPEAKABLE.sub("\ufffd", found.group()[:_FEATURE_CHARACTERS])
            add(found.start(), found.end(), word, "")

    for identifier in sorted(known):
        if identifier.start < position:
            continue
        add_words(identifier.start)
        add(identifier.start, identifier.end, f"<{identifier.kind}>", identifier.kind)
        position = identifier.end
    add_words(len(text))
    return tokens


def _shape(word: str) -> str:
    kinds = "".join(
        "X" if mark.isupper() else "x" if mark.isalpha() else "9" if mark.isdigit() else "."
        for mark in word[:12]
    )
    return re.sub(r"(.)\1+", r"\1", kinds)


def _lists_with(word: str, *, ignore: frozenset[str]) -> str:
    """A letter for every list of names that holds the word."""
    if word in ignore:
        return ""
    return "".join(letter for letter, words in _lists() if word in words)


def _lists() -> tuple[tuple[str, frozenset[str]], ...]:
    return (
        ("g", word_list("given_names")),
        ("f", word_list("family_names")),
        ("p", word_list("places")),
        ("c", word_list("countries")),
        ("s", word_list("streets")),
        ("w", word_list("english_words")),
    )


def _word_features(token: Token, ignore: frozenset[str]) -> tuple[str, str, str]:
    folded = token.word.casefold()
    return folded, _shape(token.word), _lists_with(folded, ignore=ignore)


def features(tokens: Sequence[Token], *, ignore: frozenset[str] = frozenset()) -> list[list[str]]:
    """What the model sees of each token; `ignore` hides words from the lists, for training."""
    words = [_word_features(token, ignore) for token in tokens]
    capitals = sum(token.word[:1].isupper() for token in tokens)
    letters = sum(token.word[:1].isalpha() for token in tokens)
    case = "low" if capitals == 0 else "title" if capitals * 2 > letters else "mixed"
    rows: list[list[str]] = []
    for index, token in enumerate(tokens):
        folded, shape, lists = words[index]
        row = [
            f"w={folded}",
            f"s={shape}",
            f"l={lists}",
            f"ls={lists}|{shape}|{case}",
            f"p2={folded[:2]}",
            f"p3={folded[:3]}",
            f"e2={folded[-2:]}",
            f"e3={folded[-3:]}",
            f"e4={folded[-4:]}",
            f"n={min(len(folded), 8)}",
            f"c={case}",
        ]
        row += [f"list={letter}" for letter in lists]
        if token.new_line:
            row.append("line")
        if index == 0 or words[index - 1][1].endswith("."):
            row.append("begins")
        row += _near_features(words, index)
        rows.append(row)
    return rows


def _near_features(words: Sequence[tuple[str, str, str]], index: int) -> list[str]:
    """What stands up to three tokens before and behind."""
    _, shape, lists = words[index]
    row: list[str] = []
    for offset in (-3, -2, -1, 1, 2, 3):
        at = index + offset
        if not 0 <= at < len(words):
            row.append(f"{offset}edge")
            continue
        near, near_shape, near_lists = words[at]
        row.append(f"{offset}w={near}")
        if abs(offset) < 3:
            row += (f"{offset}s={near_shape}", f"{offset}l={near_lists}")
        if abs(offset) == 1:
            row += (
                f"{offset}e3={near[-3:]}",
                f"{offset}ll={lists}|{near_lists}",
                f"{offset}ss={shape}|{near_shape}",
            )
    if 0 < index < len(words) - 1:
        row.append(f"around={words[index - 1][0]}|{words[index + 1][0]}")
    if index > 1:
        row.append(f"before={words[index - 2][0]}|{words[index - 1][0]}")
    return row


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


def _names_nobody(value: str, score: float) -> bool:
    words = _NAME.findall(value.casefold())
    doubtful = len(words) == 1 and score < _DOUBTFUL and words[0] in word_list("english_words")
    return doubtful or all(
        word in word_list("no_identifiers") or word in word_list("not_names") for word in words
    )


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
            _trimmed(text, identifier)
            for stretch in sequences(tokenize(text, known))
            if any(token.word[0].isalpha() for token in stretch)
            for identifier in self._spans(stretch, self._tagged(stretch))
        )
        named = (one for one in found if not _names_nobody(text[one.start : one.end], one.score))
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
