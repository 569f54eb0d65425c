"""The one spelling of a document on disk, and the kinds of values that several documents share."""

from typing import Annotated, Final

import msgspec

MAXIMUM_DOCUMENT_BYTES: Final = 1024 * 1024
BASIS_POINTS: Final = 10_000
# The invariant of the whole network: hosts get at least 95% of what customers pay.
LEAST_HOST_SHARE_BASIS_POINTS: Final = 9_500
# The latest moment a document may name, in epoch microseconds.
YEAR_2100_US: Final = 4_102_444_800_000_000

Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
BasisPoints = Annotated[int, msgspec.Meta(ge=0, le=BASIS_POINTS)]
ModelName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,95}\Z")]
# A tier, an index, or a model class such as "small".
Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,39}\Z")]
ModelClass = Name
Sha256Hex = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


def spelling(document: msgspec.Struct) -> bytes:
    """Return a document as UTF-8 JSON, keys sorted, two spaces, a final newline."""
    compact = msgspec.json.encode(document, order="sorted")
    return msgspec.json.format(compact, indent=2) + b"\n"


def document_name(kind: type[msgspec.Struct]) -> str:
    """Return a document's name for people and, with .json, for its file: "tariff"."""
    tag = kind.__struct_config__.tag
    return str(tag).partition("/")[0]


def percent(basis_points: int) -> str:
    """Return a share for people: 9500 is "95.00%"."""
    return f"{basis_points // 100}.{basis_points % 100:02}%"


def share_faults(basis_points: int) -> list[str]:
    """Return what is wrong with a share promised to hosts."""
    if basis_points >= LEAST_HOST_SHARE_BASIS_POINTS:
        return []
    return [
        f"a host share of {percent(basis_points)} is below"
        f" {percent(LEAST_HOST_SHARE_BASIS_POINTS)}, the least any charter may promise"
    ]
