"""The retention check: hunting for a request's content in everything that was kept.

Content could hide in more than its plain form, so each needle is looked for as UTF-8, UTF-16,
escaped as in JSON and Python, in hexadecimal, URL-encoded, and in base64 at each of its three
alignments. Compressed or encrypted copies cannot be found this way.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

# Five words in a row are somebody's; fewer occur by chance in names and messages.
NEEDLE_WORDS = 5
SHORTEST_NEEDLE = 12
# Six bytes of content; less would be found by chance in every megabyte of base64.
SHORTEST_BASE64 = 8
_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True)
class Finding:
    """Content was kept: where, and in which form. It does not repeat the content."""

    place: str
    form: str


def needles_in(text: str) -> tuple[str, ...]:
    """Distinctive pieces of a text: every run of five words, or the whole when it is shorter.

    Each as it was written and with single spaces, since lines may have been joined on the way.
    """
    words = list(re.finditer(r"\S+", text))
    last = max(1, len(words) - NEEDLE_WORDS + 1) if words else 0
    runs = [words[start : start + NEEDLE_WORDS] for start in range(last)]
    written = [text[run[0].start() : run[-1].end()] for run in runs]
    joined = [" ".join(word.group() for word in run) for run in runs]
    return tuple(dict.fromkeys(c for c in (*written, *joined) if len(c) >= SHORTEST_NEEDLE))


def find_content(needles: Sequence[str], folder: Path, texts: Mapping[str, bytes]) -> list[Finding]:
    """Look for the needles in every file below `folder` and in the named `texts`."""
    forms = [form for needle in needles for form in _forms(needle)]
    return [
        finding
        for place, content in (*_files(folder), *texts.items())
        for finding in _search(place, content, forms)
    ]


def _search(place: str, content: bytes, forms: Sequence[tuple[str, bytes]]) -> list[Finding]:
    found = {name for name, pattern in forms if pattern in content}
    return [Finding(place=place, form=name) for name in sorted(found)]


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.read_bytes()


def _forms(needle: str) -> Iterator[tuple[str, bytes]]:
    raw = needle.encode()
    if not raw:
        return
    yield "utf-8", raw
    yield "utf-16", needle.encode("utf-16-le")
    yield "utf-16", needle.encode("utf-16-be")
    yield "json", json.dumps(needle)[1:-1].encode()
    yield "json", json.dumps(needle, ensure_ascii=False)[1:-1].encode()
    yield "python", repr(needle)[1:-1].encode()
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    yield "url", quote(needle).encode()
    yield "url", quote(needle, safe="").encode()
    yield "url", quote_plus(needle).encode()
    for shift in range(3):
        # The first and last groups of four mix with neighbouring bytes: leave them out.
        encoded = base64.b64encode(b"\0" * shift + raw)[4:-4]
        if len(encoded) >= SHORTEST_BASE64:
            yield "base64", encoded
            yield "base64", encoded.translate(_URL_ALPHABET)
