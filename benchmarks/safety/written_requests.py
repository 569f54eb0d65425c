"""Requests written for training the gate: what is asked for, crossed with ways of asking."""

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path

LISTS = Path(__file__).with_suffix(".txt")
CONTRASTS = Path(__file__).with_name("written_contrasts.txt")
EVERYDAY = Path(__file__).with_name("written_everyday.txt")
# Versions drawn of one line with choices.
VERSIONS = 24
_HEADING = re.compile(r"\[([a-z_ ]+)\]")
_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def sections(path: Path) -> dict[str, list[str]]:
    """The lines of a file by the [heading] above them."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.fullmatch(line):
            current = found.setdefault(heading.group(1), [])
        elif line and not line.startswith("# "):
            current.append(line)
    return found


def requests(seed: int) -> Iterator[tuple[str, bool, frozenset[str]]]:
    """Text, whether it is unsafe, and its categories."""
    generator = random.Random(seed)  # noqa: S311 - reproducible on purpose
    of = sections(LISTS)
    harmless: set[str] = set()
    # Things, ways of asking, how many ways for each thing, unsafe, categories.
    crossings = (
        (of["weapons"], of["ask_thing"], 9, True, {"illicit", "violence"}),
        (of["drugs"], of["ask_thing"], 9, True, {"illicit"}),
        (of["malware"], of["ask_code"], 9, True, {"illicit"}),
        (of["deeds"], of["ask_deed"], 9, True, {"illicit"}),
        (of["groups"], of["ask_hate"], 8, True, {"hate"}),
        (of["claims"], of["ask_claim"], 7, True, {"illicit"}),
        (of["harmless_deeds"], of["ask_deed"], 14, False, harmless),
        (of["harmless_things"], [*of["ask_thing"][:10], *of["ask_code"]], 16, False, harmless),
        (
            of["harmless_questions"],
            ["{}", "{} Please answer briefly.", "hi, {}"],
            3,
            False,
            harmless,
        ),
        (of["harmless_topics"], of["ask_topic"], 16, False, harmless),
        (of["weapons"] + of["drugs"], of["harmless_thing"], 4, False, harmless),
        (of["malware"], of["harmless_code"], 5, False, harmless),
        (of["groups"], of["harmless_group"], 8, False, harmless),
        (of["claims"], of["harmless_claim"], 4, False, harmless),
    )
    for things, ways, count, unsafe, categories in crossings:
        for thing in things:
            for way in generator.sample(ways, k=min(count, len(ways))):
                yield way.format(thing), unsafe, frozenset(categories)


def versions(line: str, generator: random.Random) -> list[str]:
    """Different versions of a line with choices like {one|other}: all, or `VERSIONS` at random."""
    parts = _CHOICE.split(line)
    choices = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
    count = 1
    for options in choices:
        count *= len(options)
    if count <= VERSIONS:
        return ["".join(parts) for parts in itertools.product(*choices)]
    drawn = ["".join(map(generator.choice, choices)) for _ in range(2 * VERSIONS)]
    return list(dict.fromkeys(drawn))[:VERSIONS]


def contrasts(seed: int) -> Iterator[tuple[str, bool, frozenset[str], int]]:
    """Text, whether it is unsafe, its categories, and the line it was written as."""
    generator = random.Random(seed)  # noqa: S311 - reproducible on purpose
    unsafe, categories = False, frozenset[str]()
    lines = CONTRASTS.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("[") and line.endswith("]"):
            kind, _, named = line.strip("[]").partition(" ")
            unsafe = kind == "unsafe"
            categories = frozenset(named.split(",") if unsafe else ())
        elif line and not line.startswith("#"):
            for text in versions(line, generator):
                yield text, unsafe, categories, number


def everyday() -> Iterator[str]:
    """Harmless requests, each written once."""
    for line in EVERYDAY.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line
