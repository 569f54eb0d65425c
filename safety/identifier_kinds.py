"""What an identifier is, and the kinds there are."""

from dataclasses import dataclass
from typing import Final

KINDS: Final = frozenset(
    {
        "PERSON", "LOCATION", "ORGANIZATION", "ADDRESS", "EMAIL", "PHONE", "CARD", "IBAN", "SSN",
        "IP", "URL", "MAC", "SECRET", "CRYPTO", "BIRTHDATE", "USERNAME", "ACCOUNT", "PASSPORT",
    }
)  # fmt: skip

# What a customer may know to be public: names, and a firm's own addresses and numbers. Whoever
# holds one of the others can act for somebody.
LEAVABLE: Final = frozenset(
    {"PERSON", "LOCATION", "ORGANIZATION", "ADDRESS", "EMAIL", "PHONE", "URL", "IP", "USERNAME"}
)


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """Characters `start` to `end` of a text identify someone; `score` is the certainty, 0 to 1."""

    start: int
    end: int
    kind: str
    score: float
