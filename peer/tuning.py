"""Which threads and how many slots suit this machine: the rules, without the measuring."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psutil

# A slower answer than people read would be promised to customers: five tokens are some
# four words a second.
_SLOWEST_ANSWER_MILLI: Final = 5_000
# A slot more takes memory and slows every other answer; it must bring this much.
_WORTHWHILE_PERCENT: Final = 5
# Numbers of answers that are tried together. On two cores sixteen made the same 121 tokens/s in
# all as eight, in separate runs, and took 1.5 GB of the owner's memory.
TRIED_SLOTS: Final = (1, 2, 4, 8)
_GIBIBYTE: Final = 1 << 30


@dataclass(frozen=True)
class Trial:
    """What one number of threads gave. Rates in thousandths of a token per second.

    `together_milli`: of all answers, by how many there were; 1 is always among them.
    """

    threads: int
    prefill_milli: int
    together_milli: Mapping[int, int]


@dataclass(frozen=True)
class Tuning:
    """The trial that was best, and the number of slots that suits it."""

    trial: Trial
    slots: int


def tune(trials: Sequence[Trial], slots: int = 0) -> Tuning:
    """Choose among trials, at least one; `slots` other than 0 is a number already decided.

    Of equally fast ones the fewest threads: the owner has the rest.
    """
    chosen = [Tuning(trial, slots or choose_slots(trial.together_milli)) for trial in trials]
    return max(
        chosen,
        key=lambda one: (one.trial.together_milli[one.slots], -one.trial.threads),
    )


def choose_slots(together_milli: Mapping[int, int]) -> int:
    """The most answers at once of which each is still fast enough and each step worthwhile."""
    best = 1
    for slots, rate in sorted(together_milli.items()):
        fast_enough = rate >= slots * _SLOWEST_ANSWER_MILLI
        worthwhile = rate * 100 >= together_milli[best] * (100 + _WORTHWHILE_PERCENT)
        if slots > best and fast_enough and worthwhile:
            best = slots
    return best


def thread_counts(most: int) -> tuple[int, ...]:
    """Numbers of threads worth comparing, `most` among them."""
    return tuple(sorted({max(1, most // 2), most}))


def hardware() -> str:
    """What a measurement depends on besides model and library; another one ends its worth."""
    cores = psutil.cpu_count(logical=False) or 0
    memory = round(psutil.virtual_memory().total / _GIBIBYTE)
    processor = platform.processor() or platform.machine()
    return f"{processor}, {cores} cores, {psutil.cpu_count()} threads, {memory} GiB"
