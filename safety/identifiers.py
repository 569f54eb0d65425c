"""Finding what identifies a person in a text: the union of small detectors and a trained tagger."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from peerllm.safety.address_detectors import detect_addresses
from peerllm.safety.checked_numbers import detect_checked_numbers
from peerllm.safety.contact_detectors import (
    URL_CREDENTIALS,
    detect_emails,
    detect_network_addresses,
    detect_urls,
    detect_user_names,
)
from peerllm.safety.identifier_kinds import KINDS, LEAVABLE, Identifier
from peerllm.safety.name_bounds import whole_name
from peerllm.safety.number_detectors import (
    detect_bank_accounts,
    detect_birthdays,
    detect_cards,
    detect_official_numbers,
    detect_phones,
)
from peerllm.safety.plain_text import plain_text
from peerllm.safety.secret_detectors import detect_secrets
from peerllm.safety.tagger import Tagger
from peerllm.safety.wordlists import word_list

__all__ = ["KINDS", "Identifier", "IdentifierFinder", "find_identifiers", "find_patterns"]

DETECTORS: Final[Mapping[str, Callable[[str], Iterator[Identifier]]]] = {
    "e-mail addresses": detect_emails,
    "web addresses": detect_urls,
    "network addresses": detect_network_addresses,
    "user names": detect_user_names,
    "payment cards": detect_cards,
    "bank accounts": detect_bank_accounts,
    "official numbers": detect_official_numbers,
    "birthdays": detect_birthdays,
    "phone numbers": detect_phones,
    "postal addresses": detect_addresses,
    "secrets": detect_secrets,
}
CHECKED_NUMBERS: Final = "identity numbers (check digits)"
TAGGER: Final = "names and places (trained)"
PARTS_OF_NAMES: Final = "parts of names"


# Digits, capital and small letters, and the signs of numbers and addresses.
_WIDE: Final = (
    *range(0xFF10, 0xFF1A),
    *range(0xFF21, 0xFF3B),
    *range(0xFF41, 0xFF5B),
    *map(ord, "\uff0b\uff0e\uff0f\uff1a\uff20\uff3f"),
)
# Word processors and web pages write numbers with other blanks and hyphens than keyboards do,
# Japanese and Chinese ones in the width of their letters, Arabic ones with other digits.
_PLAIN_SIGNS: Final = str.maketrans(
    dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f", " ")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\uff0d", "-")
    | {wide: wide - 0xFEE0 for wide in _WIDE}
    | {zero + digit: str(digit) for zero in (0x660, 0x6F0, 0x966) for digit in range(10)}
)
_NAME: Final = re.compile(r"[^\W\d_]+")
_SHORTEST_PART: Final = 3
# Below what a detector is sure of, so that "Gomez" inside an address does not rename it.
_PART_SCORE: Final = 0.3


def united(found: Iterable[Identifier]) -> tuple[Identifier, ...]:
    """`found` without overlaps: what overlaps becomes one, named by the most certain part."""
    result: list[Identifier] = []
    for identifier in sorted(found):
        if result and identifier.start < result[-1].end:
            last = result[-1]
            best = max(last, identifier, key=lambda part: part.score)
            end = max(last.end, identifier.end)
            result[-1] = Identifier(last.start, end, best.kind, best.score)
        else:
            result.append(identifier)
    return tuple(result)


def find_patterns(text: str) -> tuple[Identifier, ...]:
    """What the detectors without a model find, by position, without overlaps."""
    return united(finding.found for finding in _matched(text))


def _matched(text: str) -> Iterator["Finding"]:
    plain = text.translate(_PLAIN_SIGNS)
    for name, detect in DETECTORS.items():
        for found in detect(plain):
            yield Finding(name, found)


def _checked(text: str) -> Iterator["Finding"]:
    for found in detect_checked_numbers(text.translate(_PLAIN_SIGNS)):
        yield Finding(CHECKED_NUMBERS, found)


def never_left(text: str) -> tuple[Identifier, ...]:
    """What is masked in `text` whatever a customer allows, also where another find hides it."""
    return united(
        one
        for one in (finding.found for finding in (*_matched(text), *_checked(text)))
        if one.kind not in LEAVABLE or URL_CREDENTIALS.search(text, one.start, one.end)
    )


def _may_be_a_name(word: str) -> bool:
    listed = word in word_list("given_names") or word in word_list("family_names")
    return word not in word_list("titles") and (listed or word not in word_list("english_words"))


def _parts_of_names(text: str, found: Iterable[Identifier]) -> Iterator[Identifier]:
    """Where a part of a full name found in the text stands alone: "Gomez" of Maria Gomez."""
    names = (_NAME.findall(text[one.start : one.end]) for one in found if one.kind == "PERSON")
    parts = {
        part
        for name in names
        if len(name) > 1
        for part in name
        if len(part) >= _SHORTEST_PART and part[0].isupper() and _may_be_a_name(part.casefold())
    }
    for word in _NAME.finditer(text) if parts else ():
        if word.group() in parts:
            yield Identifier(*word.span(), "PERSON", _PART_SCORE)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector found, and which detector it was."""

    detector: str
    found: Identifier


class IdentifierFinder:
    """Finds identifiers of all `KINDS`. Loads its model once; not for several threads at once."""

    def __init__(self, tagger: Tagger | None = None) -> None:
        self._tagger = tagger if tagger is not None else Tagger()

    def find(self, text: str) -> tuple[Identifier, ...]:
        """The identifiers of `text` by position, without overlaps."""
        return united(finding.found for finding in self.findings(text))

    def findings(self, text: str) -> tuple[Finding, ...]:
        """What each detector found in `text`, in the order they ran; findings may overlap."""
        plain = plain_text(text)
        if plain is None:
            return self._findings(text)
        return tuple(
            Finding(finding.detector, plain.as_written(finding.found))
            for finding in self._findings(plain.text)
        )

    def _findings(self, text: str) -> tuple[Finding, ...]:
        matched = list(_matched(text))
        patterns = united(finding.found for finding in matched)
        tagged = [whole_name(text, found) for found in self._tagger.find(text, patterns)]
        parts = _parts_of_names(text, united((*patterns, *tagged)))
        return (
            *matched,
            *_checked(text),
            *(Finding(TAGGER, found) for found in tagged),
            *(Finding(PARTS_OF_NAMES, found) for found in parts),
        )


@cache
def _finder() -> IdentifierFinder:
    return IdentifierFinder()


def find_identifiers(text: str) -> tuple[Identifier, ...]:
    """The identifiers of `text`, found with one finder that the process keeps."""
    return _finder().find(text)
