"""Which of a network's models fit this machine, and which one to recommend: pure rules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from peerllm.overlay.catalogue_messages import Catalogue, ModelTold

Misfit = Literal["", "not_served", "processor", "memory", "disk"]
Chance = Literal["seated", "offered", "in_line", "open", "full"]

# A process with the library and its buffers; see memory.py for the exact prediction, which
# needs the file.
PROCESS_BYTES: Final = 150_000_000
# What the disk must keep free for the rest of the computer.
_DISK_TO_SPARE: Final = 1_000_000_000
# Faster than most people read; slower hosts lose the race for every answer.
USEFUL_TOKENS_PER_SECOND: Final = 5.0
# Of the free memory: what is recommended leaves as much again to the computer's owner.
_HEADROOM: Final = 2


@dataclass(frozen=True, kw_only=True)
class Machine:
    """This computer, as far as models ask of it.

    `memory_bytes` are free, or held by models of this host. `disk_bytes` are free, None when that
    cannot be told. `bytes_per_second` is how fast weights were read while an answer was written
    (tokens a second times the file's bytes), 0 when nothing was measured. `processor_fault`: why
    the inference library does not run here, "" when it does or nobody has tried.
    """

    memory_bytes: int
    disk_bytes: int | None
    bytes_per_second: float = 0.0
    processor_fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Whether a model can be served here. `tokens_per_second` is an estimate; 0: not known."""

    misfit: Misfit
    memory_bytes: int
    download_bytes: int
    tokens_per_second: float

    @property
    def fits(self) -> bool:
        """Whether nothing stands against it."""
        return self.misfit == ""


def needed_memory(file_bytes: int, cache_bytes_per_token: int, context_tokens: int) -> int:
    """About what one answer at a time with a model takes, in bytes."""
    return file_bytes + cache_bytes_per_token * context_tokens + PROCESS_BYTES


def fit_of(model: ModelTold, machine: Machine, *, context_tokens: int, is_here: bool) -> Fit:
    """What a model needs of this machine; the first thing that stands against it."""
    tokens = min(context_tokens, model.context_tokens)
    need = needed_memory(model.file_bytes, model.cache_bytes_per_token, tokens)
    download = 0 if is_here or model.embedded else model.file_bytes
    rate = machine.bytes_per_second / model.file_bytes if model.file_bytes else 0.0
    misfit: Misfit = ""
    if not model.file_bytes and not is_here:
        misfit = "not_served"
    elif machine.processor_fault:
        misfit = "processor"
    elif need > machine.memory_bytes:
        misfit = "memory"
    elif (
        download
        and machine.disk_bytes is not None
        and download + _DISK_TO_SPARE > machine.disk_bytes
    ):
        misfit = "disk"
    return Fit(misfit=misfit, memory_bytes=need, download_bytes=download, tokens_per_second=rate)


def chance_of(catalogue: Catalogue, model: ModelTold) -> Chance:
    """Where this host stands with a model's seats."""
    if catalogue.seat is not None and model.digest in catalogue.seat.digests:
        return "seated"
    places = [place for place in catalogue.places if place.digest == model.digest]
    if any(place.offered_until_us for place in places):
        return "offered"
    if places:
        return "in_line"
    # Free ones go to those in line first.
    return "open" if model.free_seats > model.waiting else "full"


def recommended(
    catalogue: Catalogue, fits: Mapping[bytes, Fit], machine: Machine
) -> ModelTold | None:
    """The model to host here; None when the network has none that fits with room to spare.

    Of those that leave half of the free memory to the computer's owner and are fast enough as far
    as that is known: first those this host may serve or soon may, then the largest.
    """
    candidates = [
        model
        for model in catalogue.models
        if fits[model.digest].fits and _is_comfortable(fits[model.digest], machine)
    ]
    order: Mapping[Chance, int] = {"seated": 3, "offered": 3, "in_line": 2, "open": 2, "full": 1}
    return max(
        candidates,
        key=lambda model: (order[chance_of(catalogue, model)], model.file_bytes, model.name),
        default=None,
    )


def _is_comfortable(fit: Fit, machine: Machine) -> bool:
    fast = not fit.tokens_per_second or fit.tokens_per_second >= USEFUL_TOKENS_PER_SECOND
    return fast and _HEADROOM * fit.memory_bytes <= machine.memory_bytes


def read_rate(measured: Iterable[tuple[int, int]]) -> float:
    """`Machine.bytes_per_second` of what was measured: file bytes and thousandths of tokens/s.

    The largest file says most: small ones are held up by more than their weights.
    """
    file_bytes, milli = max(measured, default=(0, 0))
    return file_bytes * milli / 1000
