"""The operator's command line for models: what is here, is it whole, how fast is it."""

from pathlib import Path
from typing import Annotated, Final

import trio
import typer
from rich.console import Console
from rich.table import Table

from peerllm.peer.benchmark import measure, thread_counts
from peerllm.peer.catalogue import BenchmarkResult, CatalogueModel, LocalCatalogue
from peerllm.peer.configuration import DEFAULT_SLOTS, MAXIMUM_SLOTS, MAXIMUM_THREADS
from peerllm.peer.errors import ConfigurationError, ModelError, PeerError
from peerllm.privacy.endings import FAILED, clear_endings
from peerllm.privacy.process_memory import forbid_memory_dumps

model_app = typer.Typer(
    name="model",
    help="Models on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

DataDirectory = Annotated[
    Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
]
Model = Annotated[str, typer.Argument(help="Name, or the first characters of the digest.")]
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
        for title in ("name", "digest", "architecture", "parameters", "file", "context", "speed"):
            table.add_column(title, no_wrap=True)
        for digest, model in sorted(models.items(), key=lambda item: item[1].name):
            table.add_row(model.name, digest[:_SHOWN_DIGEST], *_facts(model))
        Console(highlight=False, soft_wrap=True, width=160).print(table)


@model_app.command()
def add(
    data_directory: DataDirectory,
    file: Annotated[
        Path | None, typer.Argument(help="GGUF file; without one, the embedded model.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
) -> None:
    """Read, hash and enter a model file; the file stays where it is."""
    with clear_endings(PeerError):
        catalogue = LocalCatalogue(data_directory)
        if file is None:
            catalogue.add_embedded()
            return
        digest, model = catalogue.add(file, name)
        typer.echo(f"{model.name} {digest}")


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
            Path(entry.path).unlink(missing_ok=True)
        catalogue.remove(digest)


@model_app.command()
def benchmark(
    data_directory: DataDirectory,
    model: Model,
    slots: Annotated[int, typer.Option(help="Answers generated at once.")] = DEFAULT_SLOTS,
    threads: Annotated[
        int, typer.Option(help="Only with so many threads; 0 compares several.")
    ] = 0,
) -> None:
    """Measure a model on this machine and remember the best number of threads."""
    with clear_endings(PeerError):
        _check("slots", slots, 1, MAXIMUM_SLOTS)
        _check("threads", threads, 0, MAXIMUM_THREADS)
        forbid_memory_dumps()
        catalogue = LocalCatalogue(data_directory)
        digest, _ = catalogue.find(model)

        async def run() -> BenchmarkResult:
            return await measure(
                catalogue.model_file(digest),
                slots=slots,
                threads=[threads] if threads else thread_counts(),
                digest_cache=data_directory / "model-digests.json",
                on_result=_show,
            )

        catalogue.remember(digest, trio.run(run))


def _show(result: BenchmarkResult) -> None:
    typer.echo(
        f"{result.threads} threads: prompt {result.prefill_milli / 1000:.1f} tokens/s, "
        f"one answer {result.decode_milli / 1000:.1f} tokens/s, "
        f"{result.slots} answers together {result.decode_all_milli / 1000:.1f} tokens/s"
    )


def _facts(model: CatalogueModel) -> tuple[str, ...]:
    measured = model.benchmark
    speed = "not measured"
    if measured:
        speed = f"{measured.decode_all_milli / 1000:.1f} tokens/s, {measured.threads} threads"
    return (
        model.architecture,
        f"{model.parameters / 1e6:.0f} M",
        f"{model.file_bytes / 1e6:.0f} MB" if Path(model.path).is_file() else "missing",
        str(model.trained_context_tokens),
        speed,
    )


def _check(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ConfigurationError(f"{name} must be from {lowest} to {highest}, got {value}")
