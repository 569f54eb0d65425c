"""Whether a text is code, told by the form of its lines."""

import re
from collections.abc import Iterator

# More than this share of lines in the form of code, and the document is code.
_CODE_SHARE = 0.5

_CODE_LINE = re.compile(
    r"\s*(?:(?:def|class|import|from|return|for|while|if|elif|else|try|except|with)\b.*:?\s*\Z"
    r"(?<=:)|import \w|from \w+ import|return\b|#include|(?:const|let|var|public|private|static"
    r"|void|function|func|fn)\s|//|/\*|[}\])]+[;,]?\s*\Z|[\w.\[\]]+\s*(?:[-+*/|&]?=)\s*\S"
    r"|.*[;{]\s*\Z|>>> |[$] )"
)
_CODE_LINES_READ = 2_000


def is_code(document: str) -> bool:
    """Whether most lines are code, fenced or by their form."""
    code = lines = 0
    fenced = False
    for line in _first_lines(document):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            continue
        if line.strip():
            lines += 1
            code += fenced or _CODE_LINE.match(line[:400]) is not None
    return code > lines * _CODE_SHARE


def _first_lines(document: str) -> Iterator[str]:
    start = 0
    for _ in range(_CODE_LINES_READ):
        end = document.find("\n", start)
        yield document[start : end if end >= 0 else len(document)]
        if end < 0:
            return
        start = end + 1
