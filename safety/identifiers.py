"""Finding what identifies a person in a text: the union of small detectors and a trained tagger."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Final

from peerllm.safety.contact_detectors import (
    detect_emails,
    detect_network_addresses,
    detect_urls,
    detect_user_names,
)
from peerllm.safety.identifier_kinds import KINDS, Identifier
from peerllm.safety.number_detectors import (
    detect_bank_accounts,
    detect_birthdays,
    detect_cards,
    detect_official_numbers,
    detect_phones,
)
from peerllm.safety.secret_detectors import detect_secrets
from peerllm.safety.tagger import Tagger

__all__ = ["KINDS", "Identifier", "IdentifierFinder", "find_identifiers", "find_patterns"]

DETECTORS: Final[tuple[Callable[[str], Iterator[Identifier]], ...]] = (
    detect_emails,
    detect_urls,
    detect_network_addresses,
    detect_user_names,
    detect_cards,
    detect_bank_accounts,
    detect_official_numbers,
    detect_birthdays,
    detect_phones,
    detect_secrets,
)


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
    return united(found for detect in DETECTORS for found in detect(text))


class IdentifierFinder:
    """Finds identifiers of all `KINDS`. Loads its model once; not for several threads at once."""

    def __init__(self, tagger: Tagger | None = None) -> None:
        self._tagger = tagger if tagger is not None else Tagger()

    def find(self, text: str) -> tuple[Identifier, ...]:
        """The identifiers of `text` by position, without overlaps."""
        patterns = find_patterns(text)
        return united((*patterns, *self._tagger.find(text, patterns)))


@cache
def _finder() -> IdentifierFinder:
    return IdentifierFinder()


def find_identifiers(text: str) -> tuple[Identifier, ...]:
    """The identifiers of `text`, found with one finder that the process keeps."""
    return _finder().find(text)
