"""From a prompt with identifiers to the restored answer of a real model, and what went wrong.

    nice -n 10 .venv/bin/python benchmarks/safety/round_trip.py [--prompts 300] [--threads 1]

Prompts are made up (`made_up_prompts.py`). Each goes the way of a request: prepared, removed,
answered by the model in an engine process, restored piece by piece as it streams. What a
placeholder stands for is worked out anew from the prompt and what was sent, not asked of the vault.
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio
from engine_answers import answer_all
from made_up_prompts import MadeUpPrompt, made_up_prompts, with_unlisted_names

from peerllm.safety.identifiers import KINDS, IdentifierFinder
from peerllm.safety.vault import Vault

SEED: Final = 20_260

_WORD: Final = re.compile(r"[^\W_]{2,}")


@dataclass(slots=True)
class Trip:
    """One prompt's way there and back."""

    prompt: MadeUpPrompt = field(repr=False)
    vault: Vault
    sent: str = field(repr=False)
    answer: str = field(default="", repr=False)
    restored: str = field(default="", repr=False)
    finished: bool = False


def given_out(trip: Trip) -> re.Pattern[str]:
    """The placeholders as they were sent."""
    listed = "|".join(sorted(map(re.escape, trip.vault.placeholders), key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{listed or '(?!)'})(?![A-Za-z0-9])")


def meant(trip: Trip) -> Iterator[re.Match[str]]:
    """Where the answer holds what may have been meant as a placeholder, whole or broken."""
    used = {placeholder.split("_")[0] for placeholder in trip.vault.placeholders}
    unused = {kind for kind in KINDS if not any(prefix.startswith(kind) for prefix in used)}
    pattern = (
        rf"(?<![A-Za-z0-9])(?P<prefix>(?i:{_any_of(used)})|{_any_of(unused)})"
        r"(?P<between>[ _-]|\\_)?(?P<number>[0-9]*)(?P<form>[A-Za-z]?)(?![A-Za-z0-9])"
    )
    for match in re.finditer(pattern, trip.answer):
        if match["number"] or (match["prefix"].isupper() and match["between"] in ("_", "\\_")):
            yield match


def _any_of(words: set[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True)) or "(?!)"


def stands_for(trip: Trip) -> dict[str, str]:
    """What each placeholder in the sent text replaced, read off the prompt around it."""
    parts, names, position = [], dict[str, str](), 0
    for match in given_out(trip).finditer(trip.sent):
        parts.append(re.escape(trip.sent[position : match.start()]))
        name = names.get(match.group())
        parts.append(f"(?P={name})" if name else f"(?P<i{len(names)}>.+?)")
        names.setdefault(match.group(), f"i{len(names)}")
        position = match.end()
    parts.append(re.escape(trip.sent[position:]))
    aligned = re.fullmatch("".join(parts), trip.prompt.text, re.DOTALL)
    assert aligned is not None, "what was sent is not the prompt with placeholders in it"
    return {placeholder: aligned[name] for placeholder, name in names.items()}


def leaks(trip: Trip) -> Counter[tuple[str, str]]:
    """By kind: identifiers of which everything, or some word or number, reached the host."""
    seen = _WORD.findall(given_out(trip).sub(" ", trip.sent))
    found: Counter[tuple[str, str]] = Counter()
    known = set(_WORD.findall(" ".join(trip.prompt.other_words)))
    for gold in trip.prompt.gold:
        words = [word for word in _WORD.findall(gold.surface) if word not in known]
        open_words = sum(word in seen for word in words)
        outcome = "hidden" if not open_words else "whole" if gold.surface in trip.sent else "part"
        found[gold.kind, outcome] += 1
    return found


def mentions(trip: Trip, meaning: dict[str, str]) -> Counter[str]:
    """How the placeholders in the answer are written, by what has to become of them."""
    found: Counter[str] = Counter()
    for match in meant(trip):
        bare = f"{match['prefix']}_{match['number']}{match['form']}"
        if bare in meaning:
            found["exact"] += 1
        elif match["number"] and bare.upper() in meaning:
            found["tolerant"] += 1
        elif match["number"]:
            found["invented"] += 1
        else:
            found["broken"] += 1
    return found


def wrong_and_left(trip: Trip, meaning: dict[str, str]) -> tuple[int, int]:
    """How many placeholders of the answer became something else than they replaced, or stayed.

    All of an answer count as wrong that cannot be read as such a mixture.
    """
    position, mentioned = 0, 0
    pieces: list[str] = []
    # Brackets that the model put around a placeholder may have gone with it.
    bracket = re.compile(r"\\?([\[\]{}<>])")
    for match in meant(trip):
        expected = meaning.get(f"{match['prefix']}_{match['number']}{match['form']}".upper())
        if not match["number"] or expected is None:
            continue
        before = re.escape(trip.answer[position : match.start()])
        either = f"(?:{re.escape(expected)}|({re.escape(match.group())}))"
        pieces += (bracket.sub(r"\\\1?", before), either)
        position, mentioned = match.end(), mentioned + 1
    pieces.append(bracket.sub(r"\\\1?", re.escape(trip.answer[position:])))
    read = re.fullmatch("".join(pieces), trip.restored, re.DOTALL)
    if read is None:
        return max(1, mentioned), 0
    return 0, sum(left is not None for left in read.groups())


async def answer_trips(trips: list[Trip], model: Path | None, tokens: int, threads: int) -> None:
    restorers = [trip.vault.restorer() for trip in trips]

    def on_piece(number: int, text: str, last: bool) -> None:
        trip, restorer = trips[number], restorers[number]
        trip.answer += text
        trip.restored += restorer.push(text)
        if last:
            trip.restored += restorer.finish()
            trip.finished = True

    sent = [trip.sent for trip in trips]
    await answer_all(sent, on_piece, max_tokens=tokens, model=model, threads=threads)


def departed(prompts: list[MadeUpPrompt]) -> list[Trip]:
    finder = IdentifierFinder()
    trips = []
    for prompt in prompts:
        vault = Vault(finder)
        vault.prepare([prompt.text])
        trips.append(Trip(prompt, vault, vault.remove(prompt.text)))
    return trips


def report(trips: list[Trip]) -> dict[str, Any]:
    hidden: Counter[tuple[str, str]] = Counter()
    written: Counter[str] = Counter()
    wrong = left = asked = came_back = unlike = 0
    for trip in trips:
        meaning = stands_for(trip)
        assert trip.vault.restore(trip.sent) == trip.prompt.text
        unlike += trip.vault.restore(trip.answer) != trip.restored
        hidden += leaks(trip)
        written += mentions(trip, meaning)
        wrong_here, left_here = wrong_and_left(trip, meaning)
        wrong, left = wrong + wrong_here, left + left_here
        asked += len(meaning)
        came_back += sum(surface in trip.restored for surface in meaning.values())
    written_in_all = sum(written.values())
    return {
        "prompts": len(trips),
        "placeholders_sent": asked,
        "of_them_in_the_restored_answers": came_back,
        "placeholders_in_answers": written_in_all,
        "exact": written["exact"],
        "tolerant": written["tolerant"],
        "invented": written["invented"],
        "broken": written["broken"],
        "left_as_written": left,
        "restoration_rate": round(
            (written["exact"] + written["tolerant"] - left) / max(1, written_in_all), 4
        ),
        "wrong_entity_restorations": wrong,
        "streamed_otherwise_than_whole": unlike,
        "reached_a_host": {
            kind: {name: hidden[kind, name] for name in ("hidden", "part", "whole")}
            for kind in sorted({kind for kind, _ in hidden})
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=48, help="0: only what leaves")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, help="GGUF file; without, the embedded model")
    parser.add_argument("--show", action="store_true", help="print what went wrong (made-up text)")
    parser.add_argument("--unlisted", action="store_true", help="names that are on no list")
    wanted = parser.parse_args()
    prompts = made_up_prompts(wanted.prompts, SEED)
    if wanted.unlisted:
        draw = random.Random(SEED)  # noqa: S311 - made-up data, not keys
        prompts = [with_unlisted_names(prompt, draw) for prompt in prompts]
    trips = departed(prompts)
    if wanted.tokens:
        trio.run(answer_trips, trips, wanted.model, wanted.tokens, wanted.threads)
    print(json.dumps(report(trips), indent=2))
    for trip in trips if wanted.show else ():
        meaning = stands_for(trip)
        of_answer = mentions(trip, meaning)
        open_kinds = [kind for kind, outcome in leaks(trip) if outcome != "hidden"]
        if open_kinds or of_answer["invented"] or of_answer["broken"]:
            print(open_kinds, dict(of_answer), trip.prompt.text, trip.sent, trip.answer, sep="\n  ")


if __name__ == "__main__":
    main()
