"""Requests written for training the gate: what is asked for, crossed with ways of asking."""

import random
from collections.abc import Iterator
from pathlib import Path

LISTS = Path(__file__).with_suffix(".txt")


def lists() -> dict[str, list[str]]:
    """The sections of the file beside this module."""
    sections: dict[str, list[str]] = {}
    for line in LISTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            current.append(line)
    return sections


def requests(seed: int) -> Iterator[tuple[str, bool, frozenset[str]]]:
    """Text, whether it is unsafe, and its categories."""
    generator = random.Random(seed)  # noqa: S311 - reproducible on purpose
    of = lists()
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
