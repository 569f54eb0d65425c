"""Labelled texts, one JSON object a line, as the finder and the judge are measured with.

What cannot be read is named by its line and field; a row's content never enters a message.
"""

from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from peerllm.safety.errors import SafetyError

# As long as the largest prompt a coordinator would consider, several times over.
MAXIMUM_LINE_BYTES: Final = 4 << 20

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Position = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_LINE_BYTES)]
_Label = Annotated[int, msgspec.Meta(ge=0, le=1)]

# How data sets abbreviate the categories of the safety standard.
_STANDARD_NAMES: Final = {
    "S": "sexual",
    "S3": "minors",
    "H": "hate",
    "H2": "hate",
    "HR": "harassment",
    "SH": "self_harm",
    "selfharm": "self_harm",
    "V": "violence",
    "V2": "violence",
}


class EvaluationDataError(SafetyError):
    """A file of labelled texts cannot be used; the message says where, never what stands there."""


class IdentifierRow(msgspec.Struct, frozen=True):
    """A text and its identifiers, as start, end and kind, in characters."""

    text: str
    spans: tuple[tuple[_Position, _Position, _Name], ...]

    def __repr__(self) -> str:
        return f"<IdentifierRow of {len(self.spans)} spans>"


class JudgeRow(msgspec.Struct, frozen=True):
    """A text, whether it is unsafe, and in which categories when that is known."""

    text: str
    unsafe: _Label
    cats: tuple[_Name, ...] = ()
    labels: dict[_Name, _Label | None] | tuple[_Name, ...] = ()

    def __repr__(self) -> str:
        return "<JudgeRow>"

    @property
    def categories(self) -> Mapping[str, bool]:
        """The categories, by the standard's names, that are known to apply or not to apply."""
        given: dict[str, int | None] = dict.fromkeys(self.cats, 1)
        given.update(
            self.labels if isinstance(self.labels, dict) else dict.fromkeys(self.labels, 1)
        )
        known: dict[str, bool] = {}
        for name, label in given.items():
            if label is not None:
                category = _STANDARD_NAMES.get(name, name)
                known[category] = known.get(category, False) or label == 1
        return known

    @property
    def of_no_other(self) -> bool:
        """Whether it is known to be of no category but those of `categories`.

        A safe text is of none; unless each category was labelled, where a missing label is unknown.
        """
        return not self.unsafe and not isinstance(self.labels, dict)


Row = TypeVar("Row", IdentifierRow, JudgeRow)


def read_row(line: bytes, kind: type[Row], *, place: str) -> Row:
    """One line of a file; raises `EvaluationDataError`, which names the `place`."""
    if len(line) > MAXIMUM_LINE_BYTES:
        raise EvaluationDataError(f"{place}: longer than {MAXIMUM_LINE_BYTES} bytes")
    try:
        row = msgspec.json.decode(line, type=kind)
    except UnicodeDecodeError as error:
        raise EvaluationDataError(f"{place}: not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise EvaluationDataError(f"{place}: nested too deeply") from None
    except msgspec.DecodeError as error:
        # msgspec names the field and the types it expected and got, never the value.
        raise EvaluationDataError(f"{place}: {error}") from None
    if isinstance(row, IdentifierRow):
        for number, (start, end, _) in enumerate(row.spans):
            if not start < end <= len(row.text):
                raise EvaluationDataError(
                    f"{place}: span {number} does not lie inside the {len(row.text)} characters"
                    " of the text; give [start, end, kind]"
                )
    return row
