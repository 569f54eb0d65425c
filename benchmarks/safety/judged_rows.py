"""The labelled texts that the gates are trained on and measured with."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from generated_injections import Injections
from generated_strings import strings
from written_requests import contrasts, everyday, requests

HERE = Path(__file__).parent
FILES = ("benign_cyber_frr", "benign_gpteacher", "benign_responses", "benign_selfinstruct",
         "harmbench", "hatecheck", "jailbreak_templates", "notinject", "openai_moderation",
         "prompt_injection_cyberseceval", "safety_aart", "safety_advbench", "safety_catqa",
         "safety_davidson", "safety_gptfuzz_resp", "safety_harmfulqa", "safety_surge",
         "safety_toxigen", "xstest", "pii_chat", "pii_presidio_synth", "pii_wikigold",
         "pii_wnut17")  # fmt: skip
# What was written for this, a text a line; the rows of a file go by the name before it.
LINES = {"voices": "requests_in_many_voices", "beside": "requests_beside_text",
         "posts": "posts", "prose": "harmless_prose"}  # fmt: skip
# All the rows written for this, as they go by.
WRITTEN_FILES = ("written", "contrasts", *LINES, "everyday", "strings", "injections")
# Never trained on in a check: what they ask for is not asked for in the other files' words.
UNSEEN_IN_CHECK = ("harmbench", "xstest")
# Rows that share this were written alike; they are held out together.
GROUPED_BY = {
    "hatecheck": "func",
    "prompt_injection_cyberseceval": "variant",
    "xstest": "focus",
}
# The variants of this file, few and large, are by this name spread over all folds.
FOLD_NAMES = {"prompt_injection_cyberseceval": "injection "}
# The texts customers send, on which false alarms are counted.
ORDINARY = ("benign_gpteacher", "benign_responses", "benign_selfinstruct", "benign_cyber_frr",
            "notinject", "everyday")  # fmt: skip
FOLDS = 3
SEED = 20_260
OPENAI = {"S": "sexual", "H": "hate", "V": "violence", "HR": "harassment", "SH": "self_harm",
          "S3": "minors", "H2": "hate", "V2": "violence"}  # fmt: skip
HARMBENCH = {
    "harassment_bullying": {"harassment"},
    "chemical_biological": {"weapons", "illicit"},
    "cybercrime_intrusion": {"cyber", "illicit"},
}
RENAMED = {"selfharm": "self_harm"}


@dataclass(frozen=True)
class Row:
    """A text with what is known of it; rows of one fold are held out together."""

    file: str
    text: str = field(repr=False)
    unsafe: bool
    categories: frozenset[str]
    fully_labelled: bool
    fold: int


def categories_of(file: str, row: dict[str, object]) -> frozenset[str]:
    if not row.get("unsafe"):
        return frozenset()
    if file == "openai_moderation":
        labels = row["labels"]
        assert isinstance(labels, dict)
        return frozenset(OPENAI[label] for label, value in labels.items() if value)
    if file == "hatecheck":
        return frozenset({"hate"})
    if file == "harmbench":
        return frozenset(HARMBENCH.get(str(row["cat"]), {"illicit"}))
    if file == "xstest":
        return frozenset({"illicit"})
    if file == "prompt_injection_cyberseceval":
        return frozenset({"prompt_injection"})
    given = row.get("cats") or ()
    assert isinstance(given, list | tuple)
    return frozenset(RENAMED.get(str(one), str(one)) for one in given)


def fold_of(group: str) -> int:
    return hashlib.sha256(group.encode("utf-8", "replace")).digest()[0] % FOLDS


def read(data: Path) -> list[Row]:
    """The rows of `FILES` in `data` and those written for this, always in the same order."""
    return [*rows_of_files(data), *written_rows()]


def rows_of_files(data: Path) -> Iterator[Row]:
    for file in FILES:
        for line in (data / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            group = row.get(GROUPED_BY.get(file, "")) or row["text"][:60]
            yield Row(
                file=file,
                text=f"{row['context']}\n{row['text']}" if row.get("context") else row["text"],
                unsafe=bool(row.get("unsafe")),
                categories=categories_of(file, row),
                fully_labelled=file == "openai_moderation",
                fold=fold_of(f"{FOLD_NAMES.get(file, file)}{group}"),
            )


def rows_of_lines() -> Iterator[Row]:
    for name, file in LINES.items():
        for line in (HERE / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text, categories = row["text"], frozenset(row["cats"])
            yield Row(name, text, bool(row["unsafe"]), categories, True, fold_of(text))


def written_rows() -> Iterator[Row]:
    for text, unsafe, categories in requests(SEED):
        # Folds by the last words, which name the thing asked for: it is then new in a check.
        fold = fold_of(" ".join(text.split()[-3:]))
        yield Row("written", text, unsafe, categories, False, fold)
    for text, unsafe, categories, line in contrasts(SEED):
        yield Row("contrasts", text, unsafe, categories, True, fold_of(f"line {line}"))
    yield from rows_of_lines()
    for text in everyday():
        yield Row("everyday", text, False, frozenset(), True, fold_of(text))
    harmful = [text for text, unsafe, _ in requests(SEED) if unsafe]
    for text, unsafe, group in strings(SEED, harmful):
        fold = fold_of(" ".join(group.split()[-3:]))
        yield Row("strings", text, unsafe, frozenset(), not unsafe, fold)
    injection = frozenset({"prompt_injection"})
    for text, unsafe, _ in Injections(SEED).texts():
        yield Row(
            "injections", text, unsafe, injection if unsafe else frozenset(), True, fold_of(text)
        )
