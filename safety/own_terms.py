"""A customer's own terms: some are always masked, with a kind of their own, others never.

A term is compared word by word and sign by sign, without regard to case, width, accents' encoding,
invisible characters and the space between; it never matches inside a longer word. In scripts
written without spaces every character counts as a word.

What is always masked wins over what is never masked. A name is masked without the words of a term
in it; an address, in the mail or on a network, is left only if a term covers all of it. Keys,
cards, accounts and official numbers are masked whatever the customer lists (`LEAVABLE` holds the
other kinds): a list is written once, and what it happens to cover may be somebody's secret in the
next request.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Final, NamedTuple

from peerllm.safety.identifier_kinds import KINDS, LEAVABLE, Identifier
from peerllm.safety.identifiers import never_left, united
from peerllm.safety.scripts import UNSPACED

# Together a thousand terms, which are made ready in 50 ms.
MAXIMUM_KINDS: Final = 8
# Of each kind, and of terms never masked.
MAXIMUM_TERMS: Final = 128
MAXIMUM_TERM_CHARACTERS: Final = 100
# Bounds the work at each word of a text; a postal address has about ten.
MAXIMUM_WORDS: Final = 16
# Hosts see a kind's name, so it is kept too short for a sentence.
KIND_PATTERN: Final = r"\A[A-Z]{2,16}\Z"


_NAMES: Final = frozenset({"PERSON", "LOCATION", "ORGANIZATION"})

# A sign between a term and what is masked beside it belongs to neither.
_FROM_LETTER_TO_LETTER: Final = re.compile(r"[^\W_](?:.*[^\W_])?", re.DOTALL)


class _Term(NamedTuple):
    start: int
    end: int
    kind: str


@dataclass(slots=True, repr=False)
class _Branch:
    """Terms that begin alike, by their next word; `kind` where one of them ends here."""

    further: dict[str, "_Branch"] = field(default_factory=dict)
    kind: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class OwnTerms:
    """What one customer always, and never, wants masked. Made by `own_terms`."""

    kinds: frozenset[str] = frozenset()
    _always: _Branch = field(default_factory=_Branch)
    _never: _Branch = field(default_factory=_Branch)

    def __repr__(self) -> str:
        return f"<OwnTerms of {len(self.kinds)} kinds>"

    def applied(self, text: str, found: Iterable[Identifier]) -> tuple[Identifier, ...]:
        """`found` in `text` without what is never masked and with what always is."""
        if self is NO_OWN_TERMS:
            return tuple(found)
        kept = self.without_left(text, ((one.start, one.end, one.kind) for one in found))
        own = [Identifier(*term, 1.0) for term in _terms(text, self._always)]
        # Ranked lower, so that what overlaps an own term takes the term's kind.
        return united((*own, *(Identifier(*span, 0.0) for span in kept)))

    def without_left(
        self, text: str, spans: Iterable[tuple[int, int, str]]
    ) -> list[tuple[int, int, str]]:
        """What of the spans of `text` is to be masked although some terms are never masked."""
        spans = list(spans)
        left = _terms(text, self._never)
        if not left:
            return spans
        starts = [term.start for term in left]
        reach = list(accumulate((term.end for term in left), max))
        secrets = never_left(text)
        ends = [one.end for one in secrets]

        def kept(start: int, end: int, kind: str) -> Iterator[tuple[int, int, str]]:
            secret = bisect_right(ends, start)
            hides_a_secret = secret < len(secrets) and secrets[secret].start < end
            if kind not in LEAVABLE or hides_a_secret:
                yield start, end, kind
                return
            term = bisect_right(starts, start)
            position = max(start, reach[term - 1]) if term else start
            if kind not in _NAMES:
                if position < end:
                    yield start, end, kind
                return
            while position < end:
                behind = starts[term] if term < len(left) else end
                piece = _FROM_LETTER_TO_LETTER.search(text, position, min(behind, end))
                if piece is not None:
                    yield *piece.span(), kind
                position = max(position, reach[term] if term < len(left) else end)
                term += 1

        return [piece for span in spans for piece in kept(*span)]

    def as_kinds(self, text: str) -> str:
        """`text` with kinds' names in place of terms: what hosts read, in a customer's words."""
        pieces: list[str] = []
        position = 0
        for start, end, kind in _terms(text, self._always):
            if start >= position:
                pieces += (text[position:start], kind.lower())
                position = end
        return "".join((*pieces, text[position:]))

    def term(self, surface: str) -> tuple[str, ...]:
        """The same for every way in which one term may be written."""
        return tuple(word for word, _, _ in _words(surface))


NO_OWN_TERMS: Final = OwnTerms()


def own_terms(always: Mapping[str, Iterable[str]], never: Iterable[str]) -> OwnTerms | str:
    """The terms of `always`, by kind, and of `never`; or why they cannot be used.

    The reason is a sentence that does not repeat a term. Sizes are for the caller to bound.
    """
    masked, left = _Branch(), _Branch()
    for kind, terms in always.items():
        if not re.match(KIND_PATTERN, kind):
            return "A kind of own terms is named by 2 to 16 capital letters, such as 'PROJECT'."
        if kind in KINDS:
            return f"'{kind}' is a kind that is looked for anyway; give your terms another name."
        for term in terms:
            fault = _add(masked, term, kind)
            if fault:
                return fault
    for term in never:
        # What this branch says its terms are does not matter.
        fault = _add(left, term, "")
        if fault:
            return fault
        if _ends(masked, term):
            return "A term is listed both as always and as never masked."
    return OwnTerms(frozenset(always), masked, left)


def _add(branch: _Branch, term: str, kind: str) -> str:
    words = [word for word, _, _ in _words(term)]
    if len(words) > MAXIMUM_WORDS:
        return f"A term has more than {MAXIMUM_WORDS} words and signs."
    if not any(character.isalnum() for word in words for character in word):
        return "A term holds neither letters nor digits."
    for word in words:
        branch = branch.further.setdefault(word, _Branch())
    if branch.kind not in (None, kind):
        return "A term is listed under two kinds."
    branch.kind = kind
    return ""


def _ends(branch: _Branch, term: str) -> bool:
    for word, _, _ in _words(term):
        if word not in branch.further:
            return False
        branch = branch.further[word]
    return branch.kind is not None


def _terms(text: str, root: _Branch) -> list[_Term]:
    """The longest term at each word of `text`; terms may overlap."""
    if not root.further:
        return []
    words = list(_words(text))
    found: list[_Term] = []
    for first, (beginning, start, _) in enumerate(words):
        if beginning not in root.further:
            continue
        branch, longest = root, None
        for word, _, end in words[first : first + MAXIMUM_WORDS]:
            if word not in branch.further:
                break
            branch = branch.further[word]
            if branch.kind is not None:
                longest = _Term(start, end, branch.kind)
        if longest is not None:
            found.append(longest)
    return found


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """Words and single signs of `text` in their common form, with where they begin and end."""
    for match in _word_pattern().finditer(text):
        common = _common(match.group())
        if common:
            yield common, match.start(), match.end()


def _common(word: str) -> str:
    if word.isascii():
        return word.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    return "".join(c for c in folded if unicodedata.category(c) != "Cf")


@cache
def _word_pattern() -> re.Pattern[str]:
    # What stands above, below or invisibly inside a word does not end it.
    inside = "".join(
        re.escape(chr(code))
        for code in range(0x10000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me", "Cf")
    )
    return re.compile(rf"[{UNSPACED}]|(?:[^\W_{UNSPACED}]|[{inside}])+|\S")
