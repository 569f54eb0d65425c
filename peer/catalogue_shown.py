"""A network's models beside this machine: what `peerllm model catalogue --json` prints."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from peerllm.overlay.catalogue_messages import Catalogue
from peerllm.peer.catalogue import CatalogueModel
from peerllm.peer.configuration import DEFAULT_CONTEXT_TOKENS
from peerllm.peer.measurements import Measurement
from peerllm.peer.model_fit import (
    Chance,
    Fit,
    Machine,
    Misfit,
    chance_of,
    fit_of,
    read_rate,
    recommended,
)


class CatalogueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the network beside this machine. Bytes are 0 while the network does not know."""

    name: str
    digest: str
    model_class: str
    license: str
    context_tokens: int
    file_bytes: int
    memory_bytes: int
    download_bytes: int
    tokens_per_second: float
    is_here: bool
    fits: bool
    misfit: Misfit
    seats: Chance
    recommended: bool


class CatalogueShown(msgspec.Struct, frozen=True, kw_only=True):
    """What the command prints as JSON."""

    told_at_us: int
    host: str
    network: str
    version: int
    processor_fault: str
    # Free on this machine; the disk's None when it cannot be told.
    memory_bytes: int
    disk_bytes: int | None
    models: list[CatalogueRow]
    catalogue: Catalogue


def machine_of(
    data_directory: Path,
    models: Mapping[str, CatalogueModel],
    measured: Callable[[str], Measurement | None],
    *,
    processor_fault: str = "",
    held_bytes: int = 0,
) -> Machine:
    """This computer as it is now, with these models on it; `measured` finds figures by digest.

    `held_bytes` of its memory are this host's own models', which are its to use again.
    """
    rates = [
        (model.file_bytes, known.decode_milli)
        for digest, model in models.items()
        if (known := measured(digest)) is not None
    ]
    free: int | None = None
    with suppress(OSError):
        free = shutil.disk_usage(data_directory).free
    return Machine(
        memory_bytes=int(psutil.virtual_memory().available) + held_bytes,
        disk_bytes=free,
        bytes_per_second=read_rate(rates),
        processor_fault=processor_fault,
    )


def fits_of(told: Catalogue, machine: Machine, here: frozenset[str]) -> dict[bytes, Fit]:
    """How each model stands to this machine. `here`: digests of the files on it."""
    return {
        model.digest: fit_of(
            model,
            machine,
            context_tokens=DEFAULT_CONTEXT_TOKENS,
            is_here=model.digest.hex() in here,
        )
        for model in told.models
    }


def catalogue_shown(
    found: Catalogue, machine: Machine, *, told_at_us: int, here: frozenset[str], host: str
) -> CatalogueShown:
    """A catalogue as it was told, beside this machine."""
    fits = fits_of(found, machine, here)
    best = recommended(found, fits, machine)
    return CatalogueShown(
        told_at_us=told_at_us,
        host=host,
        network=found.network,
        version=found.version,
        processor_fault=machine.processor_fault,
        memory_bytes=machine.memory_bytes,
        disk_bytes=machine.disk_bytes,
        models=[
            CatalogueRow(
                name=model.name,
                digest=model.digest.hex(),
                model_class=model.model_class,
                license=model.license,
                context_tokens=model.context_tokens,
                file_bytes=model.file_bytes,
                memory_bytes=fits[model.digest].memory_bytes if model.file_bytes else 0,
                download_bytes=fits[model.digest].download_bytes,
                tokens_per_second=round(fits[model.digest].tokens_per_second, 1),
                is_here=model.digest.hex() in here,
                fits=fits[model.digest].fits,
                misfit=fits[model.digest].misfit,
                seats=chance_of(found, model),
                recommended=model is best,
            )
            for model in found.models
        ],
        catalogue=found,
    )
