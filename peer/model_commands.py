"""The operator's command line for models: what is here, is it whole, how fast is it."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import trio
import typer
from rich.console import Console
from rich.table import Table

from peerllm.peer.benchmark import measure
from peerllm.peer.catalogue import CatalogueModel, LocalCatalogue
from peerllm.peer.catalogue_commands import catalogue_app
from peerllm.peer.configuration import MAXIMUM_SLOTS, MAXIMUM_THREADS
from peerllm.peer.control_client import ControlClient, ControlError
from peerllm.peer.errors import ConfigurationError, ModelError, PeerError
from peerllm.peer.fetch_commands import fetch_app
from peerllm.peer.legacy_format import LEGACY_ARCHITECTURES, LegacyArchitecture, LegacyFormat
from peerllm.peer.legacy_template import read_template
from peerllm.peer.load_commands import load_app
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.models import is_embedded
from peerllm.peer.tuning import Trial
from peerllm.privacy.endings import FAILED, clear_endings
from peerllm.privacy.process_memory import forbid_memory_dumps

model_app = typer.Typer(
    name="model",
    add_completion=False,
    help="Models on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
model_app.add_typer(load_app)
model_app.add_typer(fetch_app)
model_app.add_typer(catalogue_app)

DataDirectory = Annotated[
    Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
]
Model = Annotated[str, typer.Argument(help="Name, or the first characters of the digest.")]
EngineName = Literal["llama.cpp", "ctransformers"]
_LEGACY_WARNING: Final = (
    "warning: ctransformers dates from 2023 and gets no corrections any more; it reads this file "
    "in a process of its own. Add only files whose source you trust: what it does and does not "
    "do is in docs/engines.md"
)
# Enough of a digest to tell a handful of models apart.
_SHOWN_DIGEST: Final = 12


@model_app.command("list")
def list_models(data_directory: DataDirectory) -> None:
    """Show the models of the local catalogue."""
    with clear_endings(PeerError):
        models = LocalCatalogue(data_directory).models()
        if not models:
            typer.echo("no models; add one with: peerllm model add FILE.gguf")
            return
        table = Table(box=None, pad_edge=False)
        loaded = _states(data_directory)
        measurements = Measurements(data_directory)
        titles = ["name", "digest", "architecture", "parameters", "file", "context", "speed"]
        for title in [*titles, "host"] if loaded else titles:
            table.add_column(title, no_wrap=True)
        for digest, model in sorted(models.items(), key=lambda item: item[1].name):
            state = [loaded.get(digest, "not served")] if loaded else []
            measured = measurements.of(bytes.fromhex(digest))
            table.add_row(model.name, digest[:_SHOWN_DIGEST], *_facts(model, measured), *state)
        Console(highlight=False, soft_wrap=True, width=160).print(table)


@model_app.command()
def add(
    data_directory: DataDirectory,
    file: Annotated[
        Path | None, typer.Argument(help="GGUF file; without one, the embedded model.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    digest: Annotated[
        str | None, typer.Option(help="SHA-256 that the file must have, as published.")
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="ctransformers: for files of before GGUF, see docs/engines.md."),
    ] = "llama.cpp",
    architecture: Annotated[
        LegacyArchitecture | None, typer.Option(help="Of a file for ctransformers.")
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option(help="Jinja template for ctransformers; without one, a plain transcript."),
    ] = None,
) -> None:
    """Read, hash and enter a model file; the file stays where it is."""
    with clear_endings(PeerError):
        legacy = _legacy_format(engine, architecture, chat_template)
        expected = _digest(digest)
        catalogue = LocalCatalogue(data_directory)
        if file is None:
            if legacy or expected:
                raise ConfigurationError("--engine ctransformers and --digest need a FILE")
            catalogue.add_embedded()
            return
        if legacy:
            typer.echo(_LEGACY_WARNING, err=True)
        found, model = catalogue.add(file, name, legacy=legacy, digest=expected)
        typer.echo(f"{model.name} {found}")


@model_app.command()
def verify(
    data_directory: DataDirectory,
    model: Annotated[str | None, typer.Argument(help="Name or digest; without, all.")] = None,
) -> None:
    """Hash model files again and compare; fails unless all are what they were."""
    with clear_endings(PeerError):
        catalogue = LocalCatalogue(data_directory)
        models = dict([catalogue.find(model)]) if model else catalogue.models()
        damaged = 0
        for digest, entry in models.items():
            try:
                whole = catalogue.verify(digest)
                fault = "" if whole else "the file was altered: its digest is another"
            except ModelError as error:
                fault = str(error)
            typer.echo(f"{entry.name}: {fault or 'whole'}")
            damaged += bool(fault)
        if damaged:
            raise typer.Exit(FAILED)


@model_app.command()
def remove(
    data_directory: DataDirectory,
    model: Model,
    delete_file: Annotated[
        bool, typer.Option("--delete-file", help="Delete the file as well.")
    ] = False,
) -> None:
    """Take a model out of the catalogue."""
    with clear_endings(PeerError):
        catalogue = LocalCatalogue(data_directory)
        digest, entry = catalogue.find(model)
        if delete_file:
            if is_embedded(Path(entry.path)):
                raise ConfigurationError(
                    f"the file of {entry.name} is part of PeerLLM's installation and stays: "
                    "remove the model without deleting its file"
                )
            Path(entry.path).unlink(missing_ok=True)
        catalogue.remove(digest)


@model_app.command()
def benchmark(
    data_directory: DataDirectory,
    model: Model,
    slots: Annotated[
        int, typer.Option(help="Only with so many answers at once; 0 finds the best number.")
    ] = 0,
    threads: Annotated[
        int, typer.Option(help="Only with so many threads; 0 compares several.")
    ] = 0,
) -> None:
    """Measure a model on this machine and remember the best numbers of threads and slots.

    A host does the same by itself when it first serves a model.
    """
    with clear_endings(PeerError):
        _check("slots", slots, 0, MAXIMUM_SLOTS)
        _check("threads", threads, 0, MAXIMUM_THREADS)
        forbid_memory_dumps()
        catalogue = LocalCatalogue(data_directory)
        digest, _ = catalogue.find(model)
        file = catalogue.model_file(digest)

        async def run() -> Measurement:
            return await measure(
                file,
                slots=slots,
                threads=threads,
                digest_cache=data_directory / "model-digests.json",
                on_trial=_show,
            )

        measured = trio.run(run)
        Measurements(data_directory).remember(file.digest, measured)
        typer.echo(f"best: {measured.threads} threads, {measured.slots} slots")


def _show(trial: Trial) -> None:
    together = ", ".join(
        f"{answers} at once {rate / 1000:.1f}"
        for answers, rate in sorted(trial.together_milli.items())
    )
    typer.echo(
        f"{trial.threads} threads: prompt {trial.prefill_milli / 1000:.1f} tokens/s; "
        f"answers, tokens/s: {together}"
    )


def _states(data_directory: Path) -> dict[str, str]:
    """What the host that runs from here does with its models, by digest; {} without one."""
    try:
        models = ControlClient(data_directory).status().models
    except ControlError:
        return {}
    return {model.digest: model.engine.state.replace("_", " ") for model in models}


def _legacy_format(
    engine: EngineName, architecture: LegacyArchitecture | None, chat_template: Path | None
) -> LegacyFormat | None:
    if engine == "llama.cpp":
        if architecture or chat_template:
            raise ConfigurationError(
                "--architecture and --chat-template are for --engine ctransformers: "
                "a GGUF file brings its own"
            )
        return None
    if architecture is None:
        raise ConfigurationError(
            "--engine ctransformers needs --architecture: "
            f"one of {', '.join(LEGACY_ARCHITECTURES)}; the file does not say which"
        )
    template = read_template(chat_template) if chat_template else ""
    return LegacyFormat(architecture=architecture, chat_template=template)


def _digest(text: str | None) -> bytes | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ConfigurationError(f"a digest has 64 hexadecimal digits, got {len(text)} characters")
    return bytes.fromhex(text)


def _facts(model: CatalogueModel, measured: Measurement | None) -> tuple[str, ...]:
    speed = "not measured"
    if measured:
        speed = f"{measured.decode_all_milli / 1000:.1f} tokens/s, {measured.threads} threads"
    return (
        f"{model.architecture} (ctransformers)" if model.legacy else model.architecture,
        f"{model.parameters / 1e6:.0f} M",
        f"{model.file_bytes / 1e6:.0f} MB" if Path(model.path).is_file() else "missing",
        str(model.trained_context_tokens),
        speed,
    )


def _check(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ConfigurationError(f"{name} must be from {lowest} to {highest}, got {value}")
