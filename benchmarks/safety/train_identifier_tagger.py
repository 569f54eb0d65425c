"""Train the tagger of people, places, organisations and addresses.

    python benchmarks/safety/train_identifier_tagger.py DATA [--check] [--out FILE]

DATA holds the identifier files (`pii_*.jsonl`: text, spans). Only files under MIT, CC0 or CC BY
licences are read. `--check` reports figures on texts whose templates were held out instead of
writing a model. Seeded: the same data gives the same model.
"""

import argparse
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pycrfsuite

from peerllm.safety.evaluation import IdentifierCount
from peerllm.safety.identifiers import IdentifierFinder, find_patterns
from peerllm.safety.tagger import MODEL_PATH, Tagger, sequences
from peerllm.safety.token_features import features, tokenize
from peerllm.safety.wordlists import word_list

FILES = ("pii_chat", "pii_presidio_synth", "pii_presidio_generated", "pii_wikigold", "pii_wnut17",
         "pii_btc")  # fmt: skip
PROMPT_FILES = ("pii_chat", "pii_presidio_synth", "pii_presidio_generated")
# Prompts without anybody in them, so that the model learns that most are.
BENIGN_FILES = ("benign_gpteacher", "benign_responses", "benign_selfinstruct", "notinject")
LABELS = {"PERSON": "PERSON", "LOCATION": "LOCATION", "ORG": "ORGANIZATION", "ADDRESS": "ADDRESS"}
SEED = 20_260
WRITTEN_PER_PROMPT = 20
FOLDS = 5


@dataclass(frozen=True)
class Example:
    file: str
    text: str
    spans: tuple[tuple[int, int, str], ...]
    template: str


def template_of(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """The words that stay when every value is taken out: equal for texts of one template."""
    for start, end, _ in sorted(spans, reverse=True):
        text = f"{text[:start]}\0{text[end:]}"
    return " ".join(re.findall(r"[a-z]{3,}", text.casefold())[:6])


def read(data: Path) -> list[Example]:
    examples = []
    for file in FILES:
        for line in (data / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            spans = tuple((start, end, kind) for start, end, kind in row["spans"])
            template = str(row.get("template", "")) or template_of(row["text"], spans)
            examples.append(Example(file, row["text"], spans, f"{template}"))
    return examples


def read_benign(data: Path, generator: random.Random) -> list[Example]:
    """Texts that name nobody: inside their sentences only terms of a list have capitals."""
    texts = []
    for file in BENIGN_FILES:
        for line in (data / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["text"]
            capitals = re.findall(r"(?<![.!?:\"\n] )(?<!^)\b[A-Z]\w+", text)
            if len(text) < 800 and all(
                word.casefold() in word_list("no_identifiers") for word in capitals
            ):
                texts.append(text)
    texts = generator.sample(texts, k=min(1_200, len(texts)))
    return [Example("benign", text, (), f"benign {number}") for number, text in enumerate(texts)]


def varied(example: Example, generator: random.Random) -> Example:
    """The same text as people also type it: all in lower case, or names in capitals."""
    if generator.random() < 0.6 and len(example.text.lower()) == len(example.text):
        return Example(example.file, example.text.lower(), example.spans, example.template)
    text = example.text
    for start, end, _ in example.spans:
        upper = text[start:end].upper()
        if len(upper) == end - start:
            text = text[:start] + upper + text[end:]
    return Example(example.file, text, example.spans, example.template)


def swapped(example: Example, pools: dict[str, list[str]], generator: random.Random) -> Example:
    """The same text about somebody else, so that contexts are learnt rather than names."""
    pieces, spans, position, length = [], [], 0, 0
    for start, end, kind in sorted(example.spans):
        if start < position:
            return example
        value = example.text[start:end]
        if kind in LABELS:
            value = generator.choice(pools[kind])
        pieces += [example.text[position:start], value]
        length += start - position
        spans.append((length, length + len(value), kind))
        length += len(value)
        position = end
    pieces.append(example.text[position:])
    return Example(example.file, "".join(pieces), tuple(spans), example.template)


def written(pools: dict[str, list[str]], generator: random.Random) -> Iterable[Example]:
    """The prompts of `written_prompts.txt`, each about several people and places."""
    names = [name.split() for name in pools["PERSON"] if len(name.split()) == 2]
    values: dict[str, Callable[[], tuple[str, str]]] = {
        "person": lambda: (generator.choice(pools["PERSON"]), "PERSON"),
        "first": lambda: (generator.choice(names)[0], "PERSON"),
        "last": lambda: (generator.choice(names)[1], "PERSON"),
        "org": lambda: (generator.choice(pools["ORG"]), "ORG"),
        "location": lambda: (generator.choice(pools["LOCATION"]), "LOCATION"),
        "address": lambda: (generator.choice(pools["ADDRESS"]), "ADDRESS"),
    }
    prompts = Path(__file__).with_name("written_prompts.txt").read_text(encoding="utf-8")
    # "{last}, {first}" is one name written backwards.
    prompts = prompts.replace("\\n", "\0").replace("{last}, {first}", "{backwards}")
    for line in prompts.splitlines():
        if line.startswith("#"):
            continue
        for _ in range(WRITTEN_PER_PROMPT):
            text, spans = "", []
            for piece in re.split(r"(\{\w+\})", line.replace("\0", "\n")):
                if piece == "{backwards}":
                    first, last = generator.choice(names)
                    value, kind = f"{last}, {first}", "PERSON"
                elif piece.startswith("{"):
                    value, kind = values[piece.strip("{}")]()
                else:
                    text += piece
                    continue
                spans.append((len(text), len(text) + len(value), kind))
                text += value
            yield Example("written", text, tuple(spans), line)


Rows = tuple[list[list[str]], list[str]]


def labelled(example: Example, generator: random.Random) -> Iterable[Rows]:
    tokens = tokenize(example.text, find_patterns(example.text))
    wanted = [span for span in example.spans if span[2] in LABELS]
    spans = sorted((start, end, LABELS[kind]) for start, end, kind in wanted)
    labels, current = [], -1
    for token in tokens:
        touching = (
            at
            for at, (start, end, _) in enumerate(spans)
            if start < token.end and token.start < end
        )
        inside = next(touching, -1)
        if inside < 0 or token.kind:
            labels.append("O")
            inside = -1
        else:
            labels.append(f"{'I' if inside == current else 'B'}-{spans[inside][2]}")
        current = inside
    # A third of the names is hidden from the lists: most people's are not in them.
    hidden = frozenset(
        token.word.casefold()
        for token, label in zip(tokens, labels, strict=True)
        if label != "O" and generator.random() < 0.35
    )
    position = 0
    for stretch in sequences(tokens):
        yield features(stretch, ignore=hidden), labels[position : position + len(stretch)]
        position += len(stretch)


def chosen(examples: Sequence[Example], generator: random.Random) -> Iterable[Example]:
    """The examples, about others as well, and in other writing."""
    pools: dict[str, list[str]] = defaultdict(list)
    prompts = [one for one in examples if one.file in PROMPT_FILES]
    for example in prompts:
        for start, end, kind in example.spans:
            pools[kind].append(example.text[start:end])
    yield from examples
    for example in prompts:
        yield swapped(example, pools, generator)
        yield varied(swapped(example, pools, generator), generator)
    for example in examples:
        if example.file not in PROMPT_FILES and generator.random() < 0.25:
            yield varied(example, generator)
    for example in written(pools, generator):
        yield example if generator.random() < 0.7 else varied(example, generator)


def train(examples: Sequence[Example], benign: Sequence[Example], path: Path) -> None:
    generator = random.Random(SEED)  # noqa: S311 - reproducible on purpose
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params(
        {"c1": 0.12, "c2": 0.02, "max_iterations": 110, "feature.minfreq": 2,
         "feature.possible_transitions": True}
    )  # fmt: skip
    for example in (*chosen(examples, generator), *benign):
        for rows, labels in labelled(example, generator):
            if rows:
                trainer.append(rows, labels)
    trainer.train(str(path))


def counted(finder: IdentifierFinder, examples: Sequence[Example]) -> dict[str, IdentifierCount]:
    """What the finder does on the texts of each file."""
    counts: dict[str, IdentifierCount] = defaultdict(IdentifierCount)
    for example in examples:
        began = time.process_time()
        found = finder.find(example.text)
        seconds = time.process_time() - began
        counts[example.file].add(example.text, example.spans, found, seconds)
    return counts


def report(counts: Mapping[str, IdentifierCount]) -> None:
    """A line for each file; counted as `peerllm safety evaluate identifiers` does."""
    for file, count in sorted(counts.items()):
        figures = count.figures()
        shares = " ".join(
            f"{name} {0 if share is None else share:.3f}"
            for name, share in (
                ("recall", figures.recall), ("precision", figures.precision), ("F2", figures.f2)
            )
        )  # fmt: skip
        kinds = " ".join(
            f"{kind} {count.recalled[kind]}/{gold}" for kind, gold in figures.gold_by_kind.items()
        )
        print(
            f"{file:24} n={figures.rows:5} {shares} found {figures.predictions} "
            f"{figures.ms_per_1000_chars or 0:.1f} ms/1000 | {kinds}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--folds", type=int, default=1, help="how many of the five folds to check")
    parser.add_argument("--out", type=Path, default=MODEL_PATH)
    arguments = parser.parse_args()
    generator = random.Random(SEED)  # noqa: S311
    examples, benign = read(arguments.data), read_benign(arguments.data, generator)
    if not arguments.check:
        train(examples, benign, arguments.out)
        return
    fold_of = {
        template: generator.randrange(FOLDS)
        for group in (examples, benign)
        for template in sorted({example.template for example in group})
    }
    together: dict[str, IdentifierCount] = defaultdict(IdentifierCount)
    for fold in range(arguments.folds):
        path = arguments.out.with_suffix(".check")
        seen = {template for template, of in fold_of.items() if of != fold}
        train(
            [example for example in examples if example.template in seen],
            [example for example in benign if example.template in seen],
            path,
        )
        held = [example for example in (*examples, *benign) if example.template not in seen]
        print(f"fold {fold}, model {path.stat().st_size / 1e6:.2f} MB")
        counts = counted(IdentifierFinder(Tagger(path)), held)
        report(counts)
        for file, count in counts.items():
            together[file].add_all(count)
    if arguments.folds > 1:
        print(f"{arguments.folds} folds together")
        report(together)


if __name__ == "__main__":
    main()
