"""A judge that knows one forbidden mark and a finder that knows one name."""

import re
from collections.abc import Mapping

from peerllm.safety.identifiers import Identifier
from peerllm.safety.judge import Judge, SafetyThresholds

MARK = "forbiddenmark"
NAME = "Ida Lovegrove"


class MarkGate:
    """Certain of violence wherever the mark stands."""

    def scores(self, text: str) -> Mapping[str, float]:
        return {"violence": 0.9 if MARK in text else 0.1}


class WordFinder:
    """Finds one name."""

    def find(self, text: str) -> tuple[Identifier, ...]:
        found, start = [], text.find(NAME)
        while start >= 0:
            found.append(Identifier(start, start + len(NAME), "PERSON", 1.0))
            start = text.find(NAME, start + 1)
        return tuple(found)


# Twelve, so that the first one's placeholder is the beginning of the last three's.
FAMILY = tuple(f"{letter}da Lovegrove" for letter in "ABCDEFGHIJKL")


class FamilyFinder(WordFinder):
    """Finds a family of twelve."""

    def find(self, text: str) -> tuple[Identifier, ...]:
        found = re.finditer("|".join(FAMILY), text)
        return tuple(Identifier(*name.span(), "PERSON", 1.0) for name in found)


def toy_judge() -> Judge:
    return Judge(SafetyThresholds(version=3, thresholds_milli={"violence": 500}), [MarkGate()])
