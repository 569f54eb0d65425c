"""What an identifier is, and the kinds there are."""

from dataclasses import dataclass
from typing import Final

KINDS: Final = frozenset(
    {
        "PERSON", "LOCATION", "ORGANIZATION", "ADDRESS", "EMAIL", "PHONE", "CARD", "IBAN", "SSN",
        "IP", "URL", "MAC", "SECRET", "CRYPTO", "BIRTHDATE", "USERNAME", "ACCOUNT", "PASSPORT",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """Characters `start` to `end` of a text identify someone; `score` is the certainty, 0 to 1."""

    start: int
    end: int
    kind: str
    score: float
