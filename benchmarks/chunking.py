"""What cutting a document into chunks gains in time and costs in facts.

Through the coordinator's own planner, passages, reduction and merge, over 40 texts of the standard
library's documentation, counted by the embedded model's vocabulary:

    P=".venv/bin/python -m"; B=benchmarks.chunking
    $P $B speed facts --plot docs/chunking.png     # the plot needs matplotlib
    $P $B model --seconds 280                      # the embedded model reads the shortest texts
    $P $B cutting                                  # against semchunk, if it is installed

*speed*: chunks on 1 to 8 equal hosts of one slot, in virtual time, each answer paced by the
synthetic engine. *facts*: a reader by rule in the model's place, so that what is missing was lost
by cutting, budgets or merging alone.
"""

import argparse
import importlib
import json
import pydoc
import random
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Final

import trio
import trio.testing

from benchmarks.synthetic_engine import Pace, SyntheticGeneration
from peerllm.coordinator.document_parts import OVERLAP_TOKENS
from peerllm.coordinator.document_task import Turn
from peerllm.coordinator.merging import merge_items
from peerllm.coordinator.part_sizes import PART_TOKENS
from peerllm.coordinator.passages import pack_passages
from peerllm.coordinator.plan import Chunk, Plan
from peerllm.coordinator.planner import (
    MAXIMUM_PARTS,
    Budget,
    make_plan,
    reduce_turns,
)
from peerllm.coordinator.vocabulary import Vocabulary
from peerllm.peer.models import embedded_model_path
from peerllm.safety.sentences import sentence_spans

DOCUMENTS: Final = 40
FEWEST_TOKENS: Final = 1_300
MOST_TOKENS: Final = 20_000
CONTEXT_TOKENS: Final = 8_192
UNLIMITED: Final = 1_000_000
MODULES: Final = (
    "argparse", "ast", "bisect", "calendar", "collections", "configparser", "contextlib", "copy",
    "csv", "datetime", "decimal", "difflib", "doctest", "email.message", "fractions", "functools",
    "heapq", "inspect", "io", "itertools", "json", "logging", "optparse", "pathlib", "pickle",
    "random", "sched", "shelve", "smtplib", "socketserver", "statistics", "string", "tarfile",
    "textwrap", "threading", "timeit", "typing", "unittest", "weakref", "zipfile",
)  # fmt: skip
INSTRUCTIONS: Final = {
    "translate": "Translate this text into German:",
    "extract": "Extract all names in quotes and all tallies:",
    "summarise": "Summarize this text:",
    "question": "According to the text below, what is the tally of item K1?",
}
# One core of a home machine reads and writes the embedded model at about these rates.
READ_PER_SECOND: Final = 150.0
WRITE_PER_SECOND: Final = 80.0
HOSTS: Final = (1, 2, 4, 8)
# Tokens a model is taken to write: of the text it is given, for a part, for the whole.
WRITTEN: Final = {"translate": 1.0, "extract": 0.1}
NOTE: Final = {"summarise": 96, "question": 24}
ANSWER: Final = {"summarise": 256, "question": 48}
# Steps of the synthetic engine stand for so many tokens each.
STEP_TOKENS: Final = 16
PLANTED: Final = 12
_NAME = re.compile(r"[\"'`]{1,2}([A-Za-z_][\w.]{2,40}(?:\(\))?)[\"'`]{1,2}")
_PAIR = re.compile(r"The register holds item (K\d+)\.\s+Its tally is (\d+)\.")

vocabulary = Vocabulary(embedded_model_path())


def budget(context: int = UNLIMITED) -> Budget:
    return Budget(context_tokens=context, answer_tokens=None, count=vocabulary.count)


@dataclass
class Document:
    name: str
    text: str
    tokens: int
    planted: dict[str, str]

    @property
    def names(self) -> set[str]:
        return set(_NAME.findall(self.text))


def documents() -> list[Document]:
    """Topics of the language reference, then modules' help; with tallies planted in them."""
    texts = {f"topic {name}": text for name, text in sorted(topics.items())}
    texts |= {f"module {name}": pydoc.plain(pydoc.render_doc(name)) for name in MODULES}
    found: list[Document] = []
    for name, raw in texts.items():
        if not 5_000 < len(raw) < 80_000:
            continue
        text, planted = plant(raw, random.Random(name))  # noqa: S311 - not a secret
        tokens = vocabulary.count(text)
        if FEWEST_TOKENS <= tokens <= MOST_TOKENS and len(_NAME.findall(text)) >= 10:
            plan = plan_of("summarise", text)
            if len(plan.chunks) > 1:
                found.append(Document(name, text, tokens, planted))
    return found[:DOCUMENTS]


def plant(text: str, draw: random.Random) -> tuple[str, dict[str, str]]:
    """Facts of two sentences each, at sentence ends chosen by lot."""
    ends = sorted(draw.sample([end for _, end in sentence_spans(text)], PLANTED))
    planted = {f"K{n + 1}": str(draw.randrange(1_000, 9_999)) for n in range(PLANTED)}
    for end, (item, tally) in reversed(list(zip(ends, planted.items(), strict=True))):
        said = f" The register holds item {item}. Its tally is {tally}."
        text = text[:end] + said + text[end:]
    return text, planted


def plan_of(
    task: str, text: str, context: int = CONTEXT_TOKENS, at_once: int = MAXIMUM_PARTS
) -> Plan:
    turns = (Turn(role="user", content=f"{INSTRUCTIONS[task]}\n\n{text}"),)
    plan = make_plan(turns, budget(context), at_once=at_once)
    assert isinstance(plan, Plan)
    return plan


def part_of(chunk: Chunk) -> str:
    """What stands behind the instruction in a part's only or last turn."""
    return chunk.turns[-1].content.rpartition("NONE.\n\n")[2]


def work_of(task: str, plan: Plan) -> dict[int, tuple[int, int]]:
    """Tokens read and written for each chunk, notes being words of the assumed number."""
    work: dict[int, tuple[int, int]] = {}
    for chunk in plan.chunks:
        turns: Sequence[Turn] = chunk.turns
        if chunk.needs:
            note = " ".join(["word"] * NOTE[task])
            turns = reduce_turns(chunk, [note] * len(chunk.needs), budget(CONTEXT_TOKENS))
            written = ANSWER[task] if chunk is plan.final else NOTE[task]
        elif task in WRITTEN:
            written = int(WRITTEN[task] * vocabulary.count(part_of(chunk)))
        else:
            written = NOTE[task]
        work[chunk.index] = (budget().of(turns), min(written, chunk.max_tokens))
    return work


def scheduled(plan: Plan, work: dict[int, tuple[int, int]], hosts: int) -> float:
    """Seconds until the last chunk is answered, level after level as the coordinator works."""

    async def answer(chunk: Chunk, slots: trio.Semaphore) -> None:
        read, written = work[chunk.index]
        steps = ["word"] * max(1, round(written / STEP_TOKENS))
        pace = Pace(read / READ_PER_SECOND, WRITE_PER_SECOND / STEP_TOKENS)
        generation = SyntheticGeneration(steps, pace, max_tokens=len(steps), slots=slots)
        while not getattr(await generation.next(), "finish", ""):
            pass

    async def carry_out() -> float:
        slots = trio.Semaphore(hosts)
        for level in plan.levels():
            async with trio.open_nursery() as nursery:
                for chunk in level:
                    nursery.start_soon(answer, chunk, slots)
        return trio.current_time()

    clock = trio.testing.MockClock(autojump_threshold=0)
    began = clock.current_time()
    return trio.run(carry_out, clock=clock) - began


def speed(texts: Sequence[Document]) -> dict[str, dict[int, list[float]]]:
    """Time of the whole on one host over the time of the plan, by task and hosts."""
    gains: dict[str, dict[int, list[float]]] = {}
    # The same where the planner knows how many hosts there are, and keeps whole what would lose.
    chosen: dict[str, dict[int, list[float]]] = {}
    for task, instruction in INSTRUCTIONS.items():
        gains[task] = {hosts: [] for hosts in HOSTS}
        chosen[task] = {hosts: [] for hosts in HOSTS}
        for text in texts:
            plan = plan_of(task, text.text)
            work = work_of(task, plan)
            written = ANSWER[task] if task in ANSWER else int(WRITTEN[task] * text.tokens)
            read = text.tokens + vocabulary.count(instruction)
            whole = read / READ_PER_SECOND + written / WRITE_PER_SECOND
            for hosts in HOSTS:
                gain = whole / scheduled(plan, work, hosts)
                cut = len(plan_of(task, text.text, UNLIMITED, hosts).chunks) > 1
                gains[task][hosts].append(gain)
                chosen[task][hosts].append(gain if cut else 1.0)
    print(f"\nspeed-up over the whole on one host, {len(texts)} documents: median (lowest-highest)")
    print_gains(gains)
    print("\nwhere the planner knows the number of hosts")
    print_gains(chosen)
    return gains


def print_gains(gains: dict[str, dict[int, list[float]]]) -> None:
    print(f"{'':>12}" + "".join(f"{hosts:>20} hosts" for hosts in HOSTS))
    for task, by_hosts in gains.items():
        cells = [
            f"{statistics.median(one):6.2f} ({min(one):.2f}-{max(one):.2f})"
            for one in by_hosts.values()
        ]
        print(f"{task:>12}" + "".join(f"{cell:>26}" for cell in cells))


def extracted_by_rule(text: str, most: int) -> str:
    """Every name in quotes and every tally whose two sentences are there, one a line."""
    lines = [*dict.fromkeys(_NAME.findall(text))]
    lines += [f"{item}: {tally}" for item, tally in _PAIR.findall(text)]
    kept = pack_passages("\n".join(lines), most, vocabulary.count, entries=True)
    return kept[0] if kept else "NONE"


def condensed_by_rule(text: str, most: int) -> str:
    """The sentences that name most of what was not named yet, while there is room."""
    spans = [text[start:end] for start, end in sentence_spans(text)]
    named = {sentence: facts_in(sentence) for sentence in spans}
    kept: list[str] = []
    known: set[str] = set()
    sizes = {sentence: vocabulary.count(sentence) + 1 for sentence in named}
    while True:
        best, gain = "", 0.0
        for sentence, names in named.items():
            new = len(names - known) / sizes[sentence]
            if sizes[sentence] <= most and new > gain:
                best, gain = sentence, new
        if not best:
            return " ".join(sorted(kept, key=spans.index))
        kept.append(best)
        known |= named[best]
        most -= sizes[best]


def facts_in(text: str) -> set[str]:
    return {*_NAME.findall(text), *(tally for _, tally in _PAIR.findall(text))}


def extraction_kept(text: Document, parts: Sequence[tuple[str, int]]) -> tuple[float, float]:
    """Shares of names and of planted tallies in the merged answers to (part, most tokens)."""
    merged = merge_items([extracted_by_rule(part, most) for part, most in parts]).items
    names = len(text.names & set(merged)) / len(text.names)
    pairs = {f"{item}: {tally}" for item, tally in text.planted.items()}
    return names, len(pairs & set(merged)) / len(pairs)


def summary_kept(text: Document, context: int) -> float:
    """Share of a whole reading's facts that the plan's summary holds as well, in number."""
    answers: dict[int, str] = {}
    plan = plan_of("summarise", text.text, context)
    for chunk in plan.chunks:
        source = part_of(chunk) if not chunk.needs else ""
        if chunk.needs:
            notes = [answers[need] for need in chunk.needs]
            turns = reduce_turns(chunk, notes, budget(context))
            source = turns[-1].content.partition("in order:\n\n")[2]
        answers[chunk.index] = condensed_by_rule(source, chunk.max_tokens)
    whole = condensed_by_rule(text.text, plan.final.max_tokens)
    return len(facts_in(answers[plan.final.index])) / len(facts_in(whole))


def facts(texts: Sequence[Document]) -> dict[str, list[float]]:
    """Shares kept, by what is measured; each list has one value a document."""
    kept: dict[str, list[float]] = {}

    def note(name: str, share: float) -> None:
        kept.setdefault(name, []).append(share)

    for text in texts:
        chunks = plan_of("extract", text.text).chunks
        names, pairs = extraction_kept(text, [(part_of(c), c.max_tokens) for c in chunks])
        note("extract, names", names)
        note("extract, facts of two sentences", pairs)
        bare = pack_passages(text.text, PART_TOKENS - OVERLAP_TOKENS, vocabulary.count)
        note(
            "the same without overlap",
            extraction_kept(text, [(part, UNLIMITED) for part in bare])[1],
        )
        note("summarise, against whole", summary_kept(text, CONTEXT_TOKENS))
        note("summarise in a tree (context 2,048)", summary_kept(text, 2_048))
    print(f"\nfacts kept, a reader by rule, {len(texts)} documents: mean (lowest), documents whole")
    for name, shares in kept.items():
        whole = sum(share >= 1 for share in shares)
        print(f"{name:>36} {statistics.mean(shares):6.3f} ({min(shares):.3f}) {whole:4}")
    return kept


def model(texts: Sequence[Document], seconds: float) -> None:
    """The embedded model itself, greedy: shares of all names in quotes that its answers hold."""
    engine = importlib.import_module("peerllm.peer.batching")
    chat = importlib.import_module("peerllm.peer.chat")
    sampling = importlib.import_module("peerllm.peer.sampling")
    llama = importlib.import_module("peerllm.peer.llama")
    loaded = llama.LlamaModel(embedded_model_path())
    template = chat.ChatTemplate(loaded.chat_template)
    batching = engine.BatchingEngine(loaded, slots=1, context_tokens=4_096, threads=1)
    numbers = iter(range(10**6))

    def ask(turns: Sequence[Turn], most: int) -> str:
        number = next(numbers)
        said = [chat.ChatTurn(turn.role, turn.content) for turn in turns]
        prompt = template.prompt(said, "", loaded)
        batching.submit(number, prompt, max_tokens=most, sampling=sampling.Sampling())
        tokens: list[int] = []
        while not batching.idle:
            for outcome in batching.step():
                tokens += outcome.tokens
        return b"".join(map(loaded.piece, tokens)).decode("utf-8", "replace")

    began = time.process_time()
    print("\nthe embedded model: names kept, whole / chunked, of all names in the document")
    for text in sorted(texts, key=lambda one: one.tokens):
        for task in ("extract", "summarise"):
            if time.process_time() - began > seconds:
                batching.close()
                return
            plan = plan_of(task, text.text)
            whole = ask((Turn(role="user", content=f"{INSTRUCTIONS[task]}\n\n{text.text}"),), 256)
            answers: dict[int, str] = {}
            for chunk in plan.chunks:
                turns: Sequence[Turn] = chunk.turns
                if chunk.needs:
                    notes = [answers[need] for need in chunk.needs]
                    turns = reduce_turns(chunk, notes, budget(CONTEXT_TOKENS))
                answers[chunk.index] = ask(
                    turns, min(chunk.max_tokens, 256 // len(plan.chunks) if plan.joined else 256)
                )
            chunked = answers[plan.final.index]
            if plan.joined:
                chunked = merge_items(list(answers.values())).text
            shares = [
                sum(name in answer for name in text.names) / len(text.names)
                for answer in (whole, chunked)
            ]
            print(
                f"{text.name:>28} {text.tokens:6} tokens {task:>10} "
                f"{shares[0]:6.3f} / {shares[1]:.3f}  {time.process_time() - began:5.0f} s",
                flush=True,
            )
    batching.close()


def cutting(texts: Sequence[Document]) -> None:
    """Sentences and tables torn, evenness and time, ours against a maintained chunker."""

    def ours(text: str) -> Sequence[str]:
        return pack_passages(text, PART_TOKENS, vocabulary.count)

    cutters: dict[str, Any] = {"passages": ours}
    try:
        cutters["semchunk"] = importlib.import_module("semchunk").chunkerify(
            vocabulary.count, PART_TOKENS
        )
    except ImportError:
        print("semchunk is not installed")
    print(f"\n{'':>10} {'passages':>9} {'torn':>6} {'heads cut off':>14} {'spread':>7} {'s':>6}")
    for name, cut in cutters.items():
        torn = heads = made = 0
        spreads: list[float] = []
        began = time.process_time()
        cuts = [list(cut(text.text)) for text in texts]
        spent = time.process_time() - began
        for text, passages in zip(texts, cuts, strict=True):
            made += len(passages)
            ends = {re.sub(r"\s", "", text.text[:end]) for _, end in sentence_spans(text.text)}
            lengths = {len(end) for end in ends}
            position = 0
            for passage in passages[:-1]:
                position += len(re.sub(r"\s", "", passage))
                torn += position not in lengths
                heads += re.search(r"[=*~-]{4,}\s*\Z", passage) is not None
            sizes = [vocabulary.count(passage) for passage in passages]
            spreads.append(statistics.pstdev(sizes) / statistics.mean(sizes))
        print(
            f"{name:>10} {made:9} {torn:6} {heads:14} {statistics.mean(spreads):7.3f} {spent:6.1f}"
        )


def draw(
    gains: dict[str, dict[int, list[float]]], kept: dict[str, list[float]], plot: Path
) -> None:
    # Only here: nothing else needs the library.
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    for task, by_hosts in gains.items():
        middle = [statistics.median(values) for values in by_hosts.values()]
        (line,) = left.plot(HOSTS, middle, marker="o", label=task)
        low = [min(values) for values in by_hosts.values()]
        high = [max(values) for values in by_hosts.values()]
        left.fill_between(HOSTS, low, high, alpha=0.12, color=line.get_color())
    left.axhline(1, color="grey", linewidth=0.8)
    left.set_xticks(HOSTS)
    left.set_xlabel("hosts of one slot")
    left.set_ylabel("times faster than whole on one host")
    left.legend(fontsize=8)
    names = list(kept)
    right.boxplot([kept[name] for name in names], orientation="horizontal", whis=(0, 100))
    right.set_yticks(range(1, len(names) + 1), names, fontsize=8)
    right.set_xlabel("share of facts kept, a reader by rule")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(plot, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="+", choices=("speed", "facts", "model", "cutting"))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--seconds", type=float, default=280, help="of processor time, for model")
    parser.add_argument("--json", type=Path, help="where to keep the figures of each document")
    wanted = parser.parse_args()
    texts = documents()
    sizes = [text.tokens for text in texts]
    beyond = sum(size + 512 > CONTEXT_TOKENS for size in sizes)
    print(
        f"{len(texts)} documents of {min(sizes)} to {max(sizes)} tokens, median "
        f"{statistics.median(sizes):.0f}; {beyond} do not fit {CONTEXT_TOKENS} tokens whole"
    )
    gains = speed(texts) if "speed" in wanted.steps else {}
    kept = facts(texts) if "facts" in wanted.steps else {}
    if "cutting" in wanted.steps:
        cutting(texts)
    if "model" in wanted.steps:
        model(texts, wanted.seconds)
    if wanted.json:
        wanted.json.write_text(json.dumps({"speed": gains, "facts": kept}))
    if wanted.plot:
        draw(gains, kept, wanted.plot)


if __name__ == "__main__":
    main()
