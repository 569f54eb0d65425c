"""The models of this machine as the window lists them: what they need and what can be done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from peerllm.peer.catalogue import CatalogueModel
from peerllm.peer.configuration import DEFAULT_CONTEXT_TOKENS
from peerllm.peer.control_api import ModelStatus
from peerllm.peer.desktop.presentation import Tone, grouped, sentence_of, size
from peerllm.peer.desktop.strings import counted, tr
from peerllm.peer.measurements import Measurement
from peerllm.peer.model_fetch_api import RUNNING, FetchStatus
from peerllm.peer.model_fit import needed_memory


@dataclass(frozen=True)
class ModelRow:
    """One model. `digest` is empty for one that the host serves from a plain file."""

    name: str
    digest: str
    path: str
    facts: str
    state: str
    tone: Tone
    detail: str
    fit: str
    fits: bool
    can_load: bool
    can_unload: bool
    running: int
    is_in_catalogue: bool


def needed_bytes(model: CatalogueModel) -> int:
    """About what one answer at a time with this model takes."""
    return needed_memory(model.file_bytes, model.cache_bytes_per_token, DEFAULT_CONTEXT_TOKENS)


def model_rows(
    catalogue: Mapping[str, CatalogueModel],
    served: list[ModelStatus],
    measured: Callable[[str], Measurement | None],
    memory_bytes: int,
    *,
    is_running: bool,
) -> list[ModelRow]:
    """All models, those being served first. `measured` finds figures by digest."""
    by_digest = {model.digest: model for model in served if model.digest}
    rows = [
        _row(digest, model, by_digest.get(digest), measured(digest), memory_bytes, is_running)
        for digest, model in catalogue.items()
    ]
    rows += [_of_file(model) for model in served if model.digest not in catalogue]
    return sorted(rows, key=lambda row: (not row.can_unload, row.name))


def _row(
    digest: str,
    model: CatalogueModel,
    status: ModelStatus | None,
    measured: Measurement | None,
    memory_bytes: int,
    is_running: bool,
) -> ModelRow:
    facts = [
        tr("Models", "{count} M parameters").format(count=grouped(model.parameters // 1_000_000)),
        tr("Models", "{size} on disk").format(size=size(model.file_bytes)),
        tr("Models", "{count} tokens context").format(count=grouped(model.trained_context_tokens)),
    ]
    if measured is not None:
        speed = tr("Models", "{rate} tokens/s measured here")
        facts.append(speed.format(rate=f"{measured.decode_milli / 1000:.0f}"))
    need = status.memory_bytes if status and status.memory_bytes else needed_bytes(model)
    fits = need <= memory_bytes
    fit = tr("Models", "fits: takes about {need} of memory")
    if not fits:
        fit = tr("Models", "too large now: needs about {need} of memory, {free} are free")
    state, tone, detail = _state(status, is_running)
    return ModelRow(
        name=model.name,
        digest=digest,
        path=model.path,
        facts=" · ".join(facts),
        state=state,
        tone=tone,
        detail=detail,
        fit=fit.format(need=size(need), free=size(memory_bytes)),
        fits=fits,
        can_load=is_running and (status is None or status.engine.state not in _UP),
        can_unload=status is not None and status.engine.state in _UP,
        running=status.running if status else 0,
        is_in_catalogue=True,
    )


_UP: Final = frozenset({"ready", "loading", "restarting", "waiting"})


def _of_file(status: ModelStatus) -> ModelRow:
    state, tone, detail = _state(status, True)
    return ModelRow(
        name=status.name,
        digest=status.digest,
        path="",
        facts=tr("Models", "served from a file that is not in the catalogue"),
        state=state,
        tone=tone,
        detail=detail,
        fit="",
        fits=True,
        can_load=status.engine.state not in _UP,
        can_unload=status.engine.state in _UP,
        running=status.running,
        is_in_catalogue=False,
    )


def _state(status: ModelStatus | None, is_running: bool) -> tuple[str, Tone, str]:
    if status is None:
        return (tr("Models", "Not served") if is_running else tr("Models", "On disk")), "quiet", ""
    engine = status.engine
    detail = sentence_of(engine.detail) if engine.detail else ""
    match engine.state:
        case "ready":
            ready = tr("Models", "Loaded, {free} of {slots} slots free")
            return ready.format(free=status.free_slots, slots=status.slots), "good", detail
        case "loading":
            return tr("Models", "Loading, {n}%").format(n=engine.percent), "waiting", detail
        case "waiting":
            return tr("Models", "In line to be loaded"), "waiting", detail
        case "restarting":
            return tr("Models", "Starting again"), "waiting", detail
        case "not_loaded":
            return tr("Models", "Not loaded"), "quiet", detail
    return tr("Models", "Cannot be served"), "problem", detail


def unload_warning(row: ModelRow) -> str:
    """What to ask before unloading; empty when nothing is lost by it."""
    if not row.running:
        return ""
    written = counted(
        row.running,
        tr("Models", "One answer is being written with it and is finished first."),
        tr("Models", "{count} answers are being written with it and are finished first."),
    )
    return written + " " + tr("Models", "No new ones are taken. Unload it?")


def disk_line(models: list[CatalogueModel], free_bytes: int | None) -> str:
    """What the models take of the disk, and what is left of it."""
    if not models:
        return ""
    taken = size(sum(model.file_bytes for model in models))
    many = counted(
        len(models), tr("Models", "One model takes"), tr("Models", "{count} models take")
    )
    used = tr("Models", "{models} {size} of disk.").format(models=many, size=taken)
    if free_bytes is None:
        return used
    return used + " " + tr("Models", "{free} are free.").format(free=size(free_bytes))


def fetch_line(fetch: FetchStatus) -> tuple[str, int]:
    """What is said of a fetch, and how many percent of it are here; -1 when none runs."""
    name = fetch.name or fetch.wanted
    percent = 100 * fetch.done_bytes // fetch.file_bytes if fetch.file_bytes else 0
    match fetch.state:
        case "none":
            return "", -1
        case "finding":
            return tr("Models", "Looking for hosts that have {name} …").format(name=name), 0
        case "complete":
            return tr("Models", "{name} is here and checked. Load it to serve it.").format(
                name=name
            ), -1
        case "failed":
            return sentence_of(fetch.sentence), -1
        case "stopped":
            stopped = tr("Models", "Stopped at {done} of {total}; it goes on from there.")
            return stopped.format(done=size(fetch.done_bytes), total=size(fetch.file_bytes)), -1
    assert fetch.state in RUNNING  # noqa: S101 - the words above are all others
    hosts = counted(fetch.holders, tr("Models", "one host"), tr("Models", "{count} hosts"))
    line = tr("Models", "{name}: {done} of {total} from {hosts}")
    if fetch.state != "fetching":
        line = tr("Models", "{name}: checking {done} of {total}")
    return (
        line.format(
            name=name,
            done=size(fetch.done_bytes),
            total=size(fetch.file_bytes),
            hosts=hosts,
        ),
        percent,
    )
