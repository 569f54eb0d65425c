"""The header of a table that is cut: without it nobody can tell what the cells of a row are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

# A row of more characters than this is a paragraph.
_ROW_CHARACTERS = 2_000
# Cells longer than this are no names of columns.
_NAME_CHARACTERS = 40
# A header and two rows; two lines with as many commas are prose.
_FEWEST_ROWS = 3
_QUOTED = re.compile(r'"[^"]*"')
_RULE = frozenset("|:-+= ")
_NUMBER = re.compile(r"\W*\d[\d.,:/ -]*\W*")


@dataclass(frozen=True, kw_only=True)
class _Table:
    """`header` stands above the rows between `start` and `end`."""

    start: int
    end: int
    header: str = field(repr=False)


def headers_of(text: str, passages: Sequence[str]) -> tuple[str, ...]:
    """The header of the table among whose rows each of these passages of `text` begins.

    Empty for one that begins elsewhere. Passages may overlap; their order is the text's.
    """
    tables = list(_tables(text))
    if not tables:
        return ("",) * len(passages)
    headers = []
    position = 0
    for passage in passages:
        position = max(position, text.find(passage.partition("\n")[0], position))
        above = (table.header for table in tables if table.start <= position < table.end)
        headers.append(next(above, ""))
    return tuple(headers)


def _tables(text: str) -> Iterator[_Table]:
    position = 0
    for form, run in groupby(text.splitlines(keepends=True), key=_form):
        lines = list(run)
        end = position + sum(map(len, lines))
        header = _header_lines(lines, form[0]) if len(lines) >= _FEWEST_ROWS else 0
        if header:
            named = "".join(lines[:header])
            yield _Table(start=position + len(named), end=end, header=named.strip("\r\n"))
        position = end


def _form(line: str) -> tuple[str, int]:
    """What parts a row's cells; with commas and semicolons also how often, since prose has them."""
    if len(line) > _ROW_CHARACTERS:
        return "", 0
    if line.count("|") > 1:
        return "|", 0
    if "\t" in line.strip():
        return "\t", 0
    bare = _QUOTED.sub("", line)
    mark = max(";,", key=bare.count)
    return mark if bare.count(mark) else "", bare.count(mark)


def _header_lines(lines: Sequence[str], mark: str) -> int:
    """How many of a table's first lines are its header; 0 where nothing tells that there is one."""
    if not mark:
        return 0
    if mark == "|" and "-" in lines[1] and _RULE.issuperset(lines[1].strip()):
        return 2
    names = _cells(lines[0], mark)
    named = all(name and len(name) <= _NAME_CHARACTERS for name in names)
    counted = any(_NUMBER.fullmatch(cell[:_NAME_CHARACTERS]) for cell in _cells(lines[1], mark))
    if not (named and counted) or any(map(_NUMBER.fullmatch, names)):
        return 0
    return int(len(set(names)) == len(names))


def _cells(line: str, mark: str) -> list[str]:
    inner = line.strip().strip("|") if mark == "|" else line
    return [cell.strip().strip('"') for cell in inner.split(mark)]
