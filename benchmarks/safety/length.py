"""Time and memory against the length of a text, hostile texts above all.

    nice -n 10 .venv/bin/python benchmarks/safety/length.py [--json] [--only CASE] [--most N]
    nice -n 10 .venv/bin/python benchmarks/safety/length.py --patterns

Every text goes, in a process of its own, through normalisation, the identifier finder, the vault
(prepare, remove, restore whole and in pieces) and the judge; time is processor time, memory what
the process grew by. `--patterns` runs every compiled pattern of `safety` by itself over texts made
to make it search again and again, at two lengths. Exit code 1 where time grows faster than length.
"""

import argparse
import base64
import importlib
import json
import math
import multiprocessing
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pydoc_data.topics import topics
from typing import Any, Final

from peerllm.charter.defaults import first_standard
from peerllm.safety.identifiers import IdentifierFinder
from peerllm.safety.judge import Judge, SafetyThresholds, load_judge
from peerllm.safety.normalisation import normalised
from peerllm.safety.other_readings import other_readings
from peerllm.safety.vault import Vault

LENGTHS: Final = (10_000, 100_000, 1_000_000)
# Half a minute for a megabyte of prose is known; the coordinator's bound on requests is its bound.
MOST_JUDGED: Final = 100_000
SECONDS: Final = 300
PIECE_CHARACTERS: Final = 5
# Ten times the text in thirty times the time is more than noise, caches and sorting explain: names
# take 21 times from 100,000 to a million characters, and 4.5 times from there to four million.
MOST_GROWTH: Final = math.log10(30)
# Below this a ratio of times says nothing; a pattern by itself is quieter.
LEAST_SECONDS: Final = 0.02
LEAST_PATTERN_SECONDS: Final = 0.001
SEED: Final = 20_260


def _repeated(unit: str) -> Callable[[int], str]:
    return lambda length: (unit * (length // len(unit) + 1))[:length]


def _nested(length: int) -> str:
    return "([{<" * (length // 8) + ">}])" * (length // 8)


def _emails(length: int) -> str:
    return "".join(f"a{at:05}@b.de " for at in range(length // 12))


def _names(length: int) -> str:
    draw = random.Random(SEED)  # noqa: S311 - made-up text
    syllables = ("ma", "ri", "to", "len", "ka", "sol", "vi", "dan", "ber", "go")
    word = ("".join(draw.choices(syllables, k=3)).title() for _ in iter(int, 1))
    return " ".join(f"{next(word)} {next(word)} called." for _ in range(length // 22))[:length]


def _mixed_scripts(length: int) -> str:
    words = ("plain", "\u043f\u0440\u0438\u0432\u0435\u0442", "\u6f22\u5b57", "\u0939\u093f\u0928",
             "\u05e9\u05dc\u05d5\u05dd", "\uff21\uff22\uff23", "e\u0301\u0302", "\U0001f600\u200d",
             "p\u0430ypal", "l33t5p34k", "A b c d")  # fmt: skip
    draw = random.Random(SEED)  # noqa: S311 - made-up text
    return " ".join(draw.choices(words, k=length // 5))[:length]


def _surrogates(length: int) -> str:
    return ("\ud800 \udfff\x00a@\udcff.de " * (length // 14 + 1))[:length]


def _base64(length: int) -> str:
    block = base64.b64encode(b"what is the weather in Rome " * 300).decode()
    return (f"{block}\n" * (length // len(block) + 1))[:length]


def _prose(length: int) -> str:
    text = "\n".join(topics.values())
    return (text * (length // len(text) + 1))[:length]


CASES: Final[Mapping[str, Callable[[int], str]]] = {
    "prose": _prose,
    "one letter": _repeated("a"),
    "one digit": _repeated("1"),
    "one space": _repeated(" "),
    "nested brackets": _nested,
    "e-mail addresses": _emails,
    "names": _names,
    "mixed scripts": _mixed_scripts,
    "right to left": _repeated("\u05d0\u05dc\u05d9 \u202e\u0645\u0631\u062d\u0628\u0627 "),
    "lone surrogates": _surrogates,
    "placeholders": _repeated("PERSON_1 [EMAIL_2] {PHONE_3B} "),
    "base64": _base64,
    "base64 in one run": lambda length: base64.b64encode(b"a word " * (length // 9)).decode(),
    "digits and hyphens": _repeated("1-"),
    "digits and spaces": _repeated("12 "),
    "dots": _repeated("a."),
    "at signs": _repeated("a@"),
    "spelled addresses": _repeated("a at b dot "),
    "secrets": _repeated("password is password: Ab1!"),
    "key headers": _repeated("-----BEGIN PRIVATE KEY-----"),
    "account numbers": _repeated("customer number of A is "),
    "street addresses": _repeated("12 Old Mill Road, "),
    "letters apart": _repeated("a b "),
    "leetspeak": _repeated("4@$!"),
    "lines": _repeated("a\n"),
    "one name again and again": _repeated("Maria Gomez "),
    "birthdays": _repeated("born 01.02.1990 "),
}


def _judge() -> Judge:
    standard = first_standard()
    return load_judge(SafetyThresholds(standard.version, standard.thresholds_milli))


def _normalise(text: str) -> None:
    normalised(text)
    for part in other_readings(text):
        normalised(part)


def _there_and_back(text: str, finder: IdentifierFinder) -> Iterator[str]:
    found = finder.find(text)
    yield "finder"

    class Found:
        """What was found already, so that the vault's own time is seen."""

        def find(self, _text: str) -> Any:
            return found

    vault = Vault(Found())
    vault.prepare([text])
    sent = vault.remove(text)
    assert vault.restore(sent) == text, "restoring gave another text"
    yield "vault"
    restorer = vault.restorer()
    pieces = [
        restorer.push(sent[at : at + PIECE_CHARACTERS])
        for at in range(0, len(sent), PIECE_CHARACTERS)
    ]
    assert "".join((*pieces, restorer.finish())) == text, "the stream was restored otherwise"
    yield "stream"


def _stages(text: str, finder: IdentifierFinder, judge: Judge) -> Iterator[str]:
    """Each stage of a text's way is done when its name is given."""
    _normalise(text)
    yield "normalisation"
    yield from _there_and_back(text, finder)
    if len(text) <= MOST_JUDGED:
        judge.judge(text)
        yield "judge"


def _grown_mb(since: int) -> float:
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - since) / 1024


def _measure(
    case: str, length: int, finder: IdentifierFinder, judge: Judge, out: Connection
) -> None:
    text = CASES[case](length)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    for stage in _stages(text, finder, judge):
        now = time.process_time()
        out.send((stage, now - began, _grown_mb(base)))
        began = time.process_time()


def _measured(case: str, length: int, finder: IdentifierFinder, judge: Judge) -> dict[str, Any]:
    """Seconds by stage, and the megabytes by which the process grew. Ends what takes too long."""
    fork = multiprocessing.get_context("fork")
    reading, writing = fork.Pipe(duplex=False)
    worker = fork.Process(target=_measure, args=(case, length, finder, judge, writing))
    worker.start()
    writing.close()
    row: dict[str, Any] = {"case": case, "length": length, "seconds": {}, "grown_mb": 0.0}
    try:
        while reading.poll(SECONDS):
            stage, seconds, grown = reading.recv()
            row["seconds"][stage] = round(seconds, 4)
            row["grown_mb"] = round(grown, 1)
        row["gave_up"] = True
        worker.kill()
    except EOFError:
        row["gave_up"] = False
    worker.join()
    row["failed"] = row["gave_up"] or worker.exitcode != 0
    return row


def _growth(small: float, large: float, times: float, least: float) -> float:
    """The exponent by which time grows with length; 0 where there is too little to tell."""
    return math.log(max(large, least) / max(small, least), times)


def _too_steep(rows: list[dict[str, Any]]) -> list[str]:
    """Cases and stages whose time grows faster than their length, or that did not come through."""
    found = [f"{row['case']}, {row['length']}: failed" for row in rows if row["failed"]]
    for row in rows:
        for other in rows:
            if row["case"] != other["case"] or other["length"] <= row["length"]:
                continue
            times = other["length"] / row["length"]
            for stage, seconds in other["seconds"].items():
                exponent = _growth(
                    row["seconds"].get(stage, seconds), seconds, times, LEAST_SECONDS
                )
                if exponent > MOST_GROWTH:
                    found.append(f"{row['case']}, {stage}: exponent {exponent:.2f}")
    return found


# Fragments that begin what the detectors look for, and never end it.
FRAGMENTS: Final = (
    "a", "A", "1", " ", "\n", ".", "-", "_", "@", ":", "/", "(", "[", "{", "<", "=", "+", "!", "'",
    "a.", "a-", "a_", "a@", "a@b.", "a b ", "a1", "1a", "A1", "Aa", "1-", "1.", "1 ", "12 ", "(1",
    "1:", "a:", "a/", "0x", "a+", "a=", "a,", "a;", "a|", "1,", "--", "..", "::", "$", "$a", "4@",
    "http://", "http://a@", "www.", "://", "a at b ", "a dot ", "a (at) ", "a at b dot ", "a.com/",
    "a.com.", "@a.", "@a-", "user ", "user is ", "login: ", "password ", "password is ", "pwd=",
    "-p ", "-u a", "bearer ", "eyJa", "eyJaaaaaaaa.", "SG.aaaaaaaaaa.", "xoxb-", "AKIA", "sk-a",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN A", "customer ", "customer number of ", "order no ",
    "customer number of a is", "zip code ", "zip codes A1 ", "1 jan ", "jan 1 ", "1/1/", "born ",
    "1st of ", "tel ", "ext", "+1 ", "00 ", "1x1", "mr ", "dr. ", " da la", " van A", "flat ",
    "flat 1 ", "12 High ", "High Street ", "AB1 ", "1AA ", "Rua A, ", "A 1, ", "12345 ", "Str. 1 ",
    "PERSON_", "PERSON 1", "[[PERSON", "ignore ", "ignore your ", "your secret ", "q:", "user:",
    "a a ", "a a a a ", "\u00e9", "\u6f22", "\u0301", "\u200b", "\ud800", "\u202e", "I1l",
)  # fmt: skip
# Where patterns are searched for in whole texts.
SEARCHING: Final = (
    "address_detectors", "contact_detectors", "identifiers", "injection_signs", "lexical_gate",
    "normalisation", "number_detectors", "own_terms", "placeholders", "secret_detectors",
    "sentences", "tagger", "vault", "wordpieces",
)  # fmt: skip
# These are only matched within one word or value found, or a few characters before or behind it.
BOUNDED: Final = frozenset(
    {"contact_detectors._CODE_TOP_LEVEL", "contact_detectors._NOBODYS_HOST",
     "contact_detectors._SITE_WORDS", "contact_detectors.URL_CREDENTIALS",
     "address_detectors._NUMBER", "address_detectors._SEPARATOR", "address_detectors._STREET_ENDS",
     "address_detectors._TOKEN", "address_detectors._TOWN",
     "normalisation._UNIT", "number_detectors._DATE_LIKE",
     "own_terms._FROM_LETTER_TO_LETTER", "secret_detectors._PLACEHOLDER",
     "secret_detectors._PLAIN_WORD", "secret_detectors._SECRET_WORDS", "tagger._BETWEEN_LINES",
     "tagger._CODE", "tagger._FLAT", "tagger._HOUSE_NUMBER", "tagger._LATIN",
     "tagger._POSTAL_CODE"}
)  # fmt: skip
PATTERN_LENGTHS: Final = (3_000, 24_000)
PATTERN_SECONDS: Final = 3


def _patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for module in SEARCHING:
        for name, value in vars(importlib.import_module(f"peerllm.safety.{module}")).items():
            several = value if isinstance(value, tuple | list) else (value,)
            for number, pattern in enumerate(several):
                if isinstance(pattern, re.Pattern):
                    yield f"{module}.{name}" + (f"[{number}]" if value is several else ""), pattern


def _search_time(pattern: re.Pattern[str], text: str) -> float:
    began = time.process_time()
    for _ in pattern.finditer(text):
        pass
    return time.process_time() - began


def _gave_up(_signal: int, _frame: object) -> None:
    raise TimeoutError


def steep_patterns() -> Iterator[str]:
    """Patterns that take more than linear time on some fragment, repeated."""
    signal.signal(signal.SIGALRM, _gave_up)
    for name, pattern in _patterns():
        if name in BOUNDED:
            continue
        for fragment in FRAGMENTS:
            short, long = (_repeated(fragment)(length) for length in PATTERN_LENGTHS)
            signal.alarm(PATTERN_SECONDS)
            try:
                before, after = _search_time(pattern, short), _search_time(pattern, long)
            except TimeoutError:
                before, after = LEAST_PATTERN_SECONDS, math.inf
            signal.alarm(0)
            times = PATTERN_LENGTHS[1] / PATTERN_LENGTHS[0]
            if _growth(before, after, times, LEAST_PATTERN_SECONDS) > MOST_GROWTH:
                yield f"{name} on {fragment!r}: {before:.4f} s, then {after:.4f} s"


def show(rows: list[dict[str, Any]]) -> None:
    """A line a text: seconds of each stage, and by how many megabytes the process grew."""
    for row in rows:
        stages = " ".join(f"{stage} {seconds:.3f}" for stage, seconds in row["seconds"].items())
        failed = " failed" if row["failed"] else ""
        print(f"{row['case']:26}{row['length']:>10} {row['grown_mb']:7.1f} MB  {stages}{failed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--only", choices=sorted(CASES), action="append")
    parser.add_argument("--most", type=int, default=LENGTHS[-1], help="the longest text")
    parser.add_argument("--patterns", action="store_true", help="each pattern by itself instead")
    wanted = parser.parse_args()
    steep: list[str] = []
    if wanted.patterns:
        for one in steep_patterns():
            print(one, flush=True)
            steep.append(one)
    else:
        finder, judge = IdentifierFinder(), _judge()
        # What is loaded at first use is no part of any text's time.
        finder.find("Maria Gomez")
        judge.judge("hello")
        rows: list[dict[str, Any]] = []
        for case in wanted.only or CASES:
            for length in (one for one in LENGTHS if one <= wanted.most):
                rows.append(_measured(case, length, finder, judge))
                if not wanted.json:
                    show(rows[-1:])
        if wanted.json:
            print(json.dumps(rows, indent=2))
        steep = _too_steep(rows)
        print(*steep, sep="\n", file=sys.stderr)
    sys.exit(bool(steep))


if __name__ == "__main__":
    main()
