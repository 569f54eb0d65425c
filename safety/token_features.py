"""What the tagger sees of a text: its tokens, and of each the word, its form and its neighbours."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.word_clusters import Groups, word_clusters
from peerllm.safety.wordlists import word_list

_FEATURE_CHARACTERS: Final = 24
_TOKEN: Final = re.compile(r"\w+|[^\w\s]+")
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


@cache
def _lists() -> tuple[tuple[str, frozenset[str]], ...]:
    return (
        ("g", word_list("given_names")),
        ("f", word_list("family_names")),
        ("p", word_list("places")),
        ("c", word_list("countries")),
        ("s", word_list("streets")),
        ("w", word_list("english_words")),
        ("d", word_list("dictionary")),
    )


def _word_features(token: Token, ignore: frozenset[str]) -> tuple[str, str, str]:
    folded = token.word.casefold()
    return folded, _shape(token.word), _lists_with(folded, ignore=ignore)


def _groups(token: Token) -> Groups | None:
    return None if token.kind else word_clusters().groups(token.word)


def features(tokens: Sequence[Token], *, ignore: frozenset[str] = frozenset()) -> list[list[str]]:
    """What the model sees of each token; `ignore` hides words from the lists, for training."""
    words = [_word_features(token, ignore) for token in tokens]
    groups = [_groups(token) for token in tokens]
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
        row += _group_features(groups, index)
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


def _group_features(groups: Sequence[Groups | None], index: int) -> list[str]:
    """The groups of words used like this one, and like those up to two tokens away."""
    own = groups[index]
    row = ["k=?"] if own is None else [f"k={own.wide}", f"K={own.narrow}"]
    for offset in (-2, -1, 1, 2):
        near = groups[index + offset] if 0 <= index + offset < len(groups) else None
        if near is not None:
            row.append(f"{offset}k={near.wide}")
    return row
