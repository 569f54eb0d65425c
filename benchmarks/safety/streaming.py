"""Streaming unsafe answers, and harmless ones, word by word through the release gate.

    nice -n 10 .venv/bin/python benchmarks/safety/streaming.py FILE... [--harmless FILE ...]
    nice -n 10 .venv/bin/python benchmarks/safety/streaming.py FILE... --rates 5 20 100 400

Files hold JSON lines with `text` and `unsafe` (0 or 1). Unsafe rows are taken from FILE, harmless
ones with at least as many words from the files behind `--harmless`; both are drawn with a fixed
seed. Each text goes through the coordinator's own gate with the answer judge of the first
standard, at 20 words a second in virtual time, into which each verdict enters with the processor
time that it took. The judge is watched, so that what leaves can be compared with what it was shown.

`--rates` instead: the harmless texts of FILE at several rates; how long words are held back.
"""

import argparse
import json
import random
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
import trio.testing

from peerllm.charter.defaults import first_standard
from peerllm.coordinator.release import ReleaseGate
from peerllm.safety.identifiers import Identifier
from peerllm.safety.judge import Judge, SafetyThresholds, Verdict, load_judge
from peerllm.safety.vault import Vault

SEED: Final = 20_260
Result = TypeVar("Result")
_WORD: Final = re.compile(r"\s*\S+\s*")


class NoFinder:
    """Nothing was masked: what is measured here is the judging."""

    def find(self, text: str) -> tuple[Identifier, ...]:  # noqa: ARG002 - a finder's face
        return ()


@dataclass(slots=True)
class Stream:
    """What became of one streamed text."""

    words: int
    released_words: int = 0
    unjudged_words: int = 0
    stopped: bool = False
    # The whole text, judged at once.
    refused_whole: bool = False
    judging_seconds: float = 0.0
    longest_seconds: float = 0.0
    judged: list[str] = field(default_factory=list, repr=False)
    released: list[str] = field(default_factory=list, repr=False)


def answer_judge() -> Judge:
    standard = first_standard()
    raised = {
        category: min(1_000, threshold + standard.answer_margin_milli)
        for category, threshold in standard.thresholds_milli.items()
    }
    return load_judge(SafetyThresholds(standard.version, raised))


async def stream_text(text: str, judge: Judge, rate: float) -> Stream:
    """Stream one text of `rate` words a second and see what leaves."""
    pieces = _WORD.findall(text)
    stream = Stream(words=len(pieces))
    covered = 0

    async def judging(part: str) -> Verdict:
        began = time.process_time()
        verdict = judge.judge(part)
        seconds = time.process_time() - began
        await trio.sleep(seconds)
        stream.judging_seconds += seconds
        stream.longest_seconds = max(stream.longest_seconds, seconds)
        if verdict.allowed:
            stream.judged.append(part)
        return verdict

    async def release(part: str) -> None:
        nonlocal covered
        # What leaves must stand, word for word, in what was last found safe.
        if part not in stream.judged[-1]:
            stream.unjudged_words += len(part.split())
        covered += len(part)
        stream.released.append(part)

    def stop() -> None:
        stream.stopped = True

    gate = ReleaseGate(judging=judging, vault=Vault(NoFinder()), release=release, on_refusal=stop)
    for piece in pieces:
        await trio.sleep(1 / rate)
        await gate.push(piece)
        if stream.stopped:
            break
    if not stream.stopped:
        await gate.finish()
    assert text.startswith("".join(stream.released)), "something else left than was written"
    stream.released_words = len("".join(stream.released).split())
    stream.refused_whole = not judge.judge(text).allowed
    return stream


@dataclass(slots=True)
class Paced:
    """One text streamed at a steady rate: what passed, and how long each word was held back."""

    words: int
    delays: list[float] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)
    judging_seconds: float = 0.0
    # From the last word's arrival to the answer's end.
    end_seconds: float = 0.0


async def pace_text(text: str, judge: Judge, rate: float) -> Paced | None:
    """Stream one text of `rate` words a second; None where it was refused."""
    pieces = _WORD.findall(text)
    paced = Paced(words=len(pieces))
    sending, receiving = trio.open_memory_channel[str](len(pieces))

    async def judging(part: str) -> Verdict:
        began = time.process_time()
        verdict = judge.judge(part)
        seconds = time.process_time() - began
        paced.judging_seconds += seconds
        await trio.sleep(seconds)
        return verdict

    async def release(part: str) -> None:
        new = len(part.split())
        paced.windows.append(new)
        for number in range(len(paced.delays), len(paced.delays) + new):
            paced.delays.append(trio.current_time() - began - (number + 1) / rate)

    async def arrive() -> None:
        async with sending:
            for piece in pieces:
                await trio.sleep(1 / rate)
                await sending.send(piece)

    gate = ReleaseGate(
        judging=judging, vault=Vault(NoFinder()), release=release, on_refusal=lambda: None
    )
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrive)
        async for piece in receiving:
            await gate.push(piece)
    await gate.finish()
    paced.end_seconds = trio.current_time() - began - len(pieces) / rate
    return paced if gate.refusal is None else None


def paced_figures(texts: Sequence[str], judge: Judge, rate: float) -> dict[str, Any]:
    """Figures over the texts that passed, each in a virtual time of its own."""
    passed = [paced for text in texts if (paced := in_virtual_time(pace_text, text, judge, rate))]
    words = sum(paced.words for paced in passed)
    inner = [size for paced in passed for size in paced.windows[1:-1]]
    return {
        "words_per_second": rate,
        "texts": len(passed),
        "new_words_of_a_window_p50": statistics.median(inner or [0]),
        "ms_a_word_is_held_back": percentiles(
            [delay * 1_000 for paced in passed for delay in paced.delays]
        ),
        "ms_from_the_last_word_to_the_end": percentiles(
            [paced.end_seconds * 1_000 for paced in passed]
        ),
        "judging_ms_per_100_words": round(
            sum(paced.judging_seconds for paced in passed) * 1e5 / max(1, words), 1
        ),
    }


def rows(files: Sequence[Path], *, unsafe: bool, least_words: int) -> list[str]:
    texts: dict[str, None] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = row["text"].strip()
            if bool(row.get("unsafe")) == unsafe and len(text.split()) >= least_words:
                texts[text] = None
    return list(texts)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values) or [0]
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
        for name, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


def figures(streams: Sequence[Stream]) -> dict[str, Any]:
    stopped = [stream for stream in streams if stream.stopped]
    words = sum(stream.words for stream in streams if not stream.stopped)
    through = sum(stream.judging_seconds for stream in streams if not stream.stopped)
    return {
        "texts": len(streams),
        "words_p50": statistics.median(stream.words for stream in streams) if streams else 0,
        "stopped": round(len(stopped) / max(1, len(streams)), 4),
        "stopped_before_the_first_word": sum(not one.released_words for one in stopped),
        "refused_as_a_whole": round(
            sum(stream.refused_whole for stream in streams) / max(1, len(streams)), 4
        ),
        "words_released_before_the_stop": percentiles([one.released_words for one in stopped]),
        "share_released_before_the_stop": round(
            sum(one.released_words for one in stopped) / max(1, sum(one.words for one in stopped)),
            4,
        ),
        "unjudged_words_released": sum(stream.unjudged_words for stream in streams),
        "judging_ms_per_100_words_of_what_passed": round(through * 1e5 / max(1, words), 1),
        "ms_of_the_longest_verdict_of_a_text": percentiles(
            [stream.longest_seconds * 1_000 for stream in streams]
        ),
    }


def in_virtual_time(work: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
    """What the work comes to when nobody waits for its pauses."""
    return trio.run(work, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--harmless", type=Path, nargs="*", default=[])
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--least-words", type=int, default=50)
    parser.add_argument("--rate", type=float, default=20, help="words per second")
    parser.add_argument("--rates", type=float, nargs="*", default=[], help="words per second")
    wanted = parser.parse_args()
    judge = answer_judge()
    if wanted.rates:
        texts = rows(wanted.files, unsafe=False, least_words=wanted.least_words)
        random.Random(SEED).shuffle(texts)  # noqa: S311 - a sample, not a key
        for rate in wanted.rates:
            print(json.dumps(paced_figures(texts[: wanted.texts], judge, rate)), flush=True)
        return
    report: dict[str, Any] = {}
    for name, files, unsafe in (
        ("unsafe", wanted.files, True),
        ("harmless", wanted.harmless, False),
    ):
        texts = rows(files, unsafe=unsafe, least_words=wanted.least_words)
        random.Random(SEED).shuffle(texts)  # noqa: S311 - a sample, not a key
        streams = [
            in_virtual_time(stream_text, text, judge, wanted.rate) for text in texts[: wanted.texts]
        ]
        report[name] = figures(streams)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
