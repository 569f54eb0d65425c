"""The parts of a document as a model is given them: passages, with what they need from before."""

from collections.abc import Callable

from peerllm.coordinator.document_task import DocumentTask
from peerllm.coordinator.part_sizes import SMALLEST_PART_TOKENS
from peerllm.coordinator.passages import pack_passages
from peerllm.coordinator.table_headers import headers_of

# Two sentences of prose: what is said of a thing in the sentence after it was named is found.
OVERLAP_TOKENS = 64
_OF_ROWS = "What follows begins with rows of a table that has this header:\n"

Count = Callable[[str], int]


def parts_of(task: DocumentTask, size: int, count: Count) -> tuple[str, ...]:
    """The document in parts of at most `size` tokens.

    A part that begins among a table's rows is told its header, where that leaves enough room.
    """
    parts = _passages(task, size, count)
    # Rows written anew are joined: each part would repeat the header there.
    if task.kind == "rewrite":
        return parts
    notes = _header_notes(task, parts)
    longest = max(map(count, notes), default=0)
    if not any(notes) or size - longest < SMALLEST_PART_TOKENS:
        return parts
    parts = _passages(task, size - longest, count)
    return tuple(
        note + part if count(note) <= longest else part
        for note, part in zip(_header_notes(task, parts), parts, strict=True)
    )


def _passages(task: DocumentTask, size: int, count: Count) -> tuple[str, ...]:
    return pack_passages(
        task.document,
        size,
        count,
        overlap=OVERLAP_TOKENS if task.kind in ("extract", "question") else 0,
        entries=task.kind == "classify",
    )


def _header_notes(task: DocumentTask, parts: tuple[str, ...]) -> list[str]:
    headers = headers_of(task.document, parts)
    return [f"{_OF_ROWS}{header}\n\n" if header else "" for header in headers]
