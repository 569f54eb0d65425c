"""The operator's command line for a running host, all of it over the control API."""

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from peerllm.overlay.messages import SeatPause
from peerllm.peer.account_presentation import account_table
from peerllm.peer.control_api import (
    AppealRequest,
    DrainRequest,
    HostAccount,
    LogLines,
    ModelStatus,
    PauseRequest,
    Status,
)
from peerllm.peer.control_client import ControlClient, ControlError, NotRunningError
from peerllm.peer.detached import StartError, is_running, start_detached, wait_for_end
from peerllm.peer.earnings import Earnings, read_earnings
from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.peer.files import read_state, write_state
from peerllm.peer.host_settings import lasting, leave_to_itself, saved_settings
from peerllm.peer.limits import Limits
from peerllm.peer.schedule import describe_schedule, schedule_window
from peerllm.privacy.endings import clear_endings

control_app = typer.Typer(pretty_exceptions_enable=False)

DataDirectory = Annotated[
    Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="GGUF file, or a model of the catalogue; may be given again. "
        "Without any, the embedded model.",
    ),
]
Preloaded = Annotated[
    list[str] | None,
    typer.Option(
        "--preload",
        help="As --model; loaded first, and never evicted to make room for another.",
    ),
]
# On top of what running answers may take: for the process to put itself away.
_FAREWELL_SECONDS: Final = 15
_MEGABYTE: Final = 1_000_000
_KIBIBYTE: Final = 1024


@control_app.command()
def start(
    data_directory: DataDirectory,
    coordinator: Annotated[
        str | None, typer.Option(help="Needed the first time; then it is remembered.")
    ] = None,
    model: Models = None,
    preload: Preloaded = None,
) -> None:
    """Start the host in the background, with the settings of its last run but for those given."""
    with clear_endings(PeerError):
        if is_running(data_directory):
            raise StartError("the host already runs: see peerllm host status")
        named, first = ([lasting(one) for one in given or []] for given in (model, preload))
        models = {"models": named, "preload": first} if named or first else {}
        settings = saved_settings(data_directory, coordinator=coordinator, **models)
        leave_to_itself(data_directory)
        _print_status(start_detached(settings.command(data_directory), data_directory))


@control_app.command()
def status(
    data_directory: DataDirectory,
    as_json: Annotated[bool, typer.Option("--json", help="As the control API gives it.")] = False,
) -> None:
    """Show how the host is."""
    with clear_endings(PeerError):
        found = ControlClient(data_directory).status()
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        else:
            _print_status(found)


@control_app.command()
def pause(
    data_directory: DataDirectory,
    minutes: Annotated[
        int, typer.Option(min=0, max=24 * 60, help="For so long; 0 is until resumed.")
    ] = 0,
) -> None:
    """Take no new work, also after a restart; what runs goes on."""
    with clear_endings(PeerError):
        asked = PauseRequest(seconds=60 * minutes)
        _print_status(ControlClient(data_directory).ask("POST", "/v1/pause", Status, asked))


@control_app.command()
def resume(data_directory: DataDirectory) -> None:
    """Take work again."""
    with clear_endings(PeerError):
        _print_status(ControlClient(data_directory).ask("POST", "/v1/resume", Status))


@control_app.command()
def appeal(
    strike: Annotated[int, typer.Argument(min=1, max=2**53 - 1, help="Number of the strike.")],
    data_directory: DataDirectory,
) -> None:
    """Appeal against a strike of this host's; `earnings` shows strikes and what became of it.

    The charter's time to decide begins when the coordinator has taken it down, and when nobody
    decides in time the strike is withdrawn by itself. Give your reasons to the region's contact.

    \b
    Example:
      peerllm host appeal 7 --data-directory host
    """
    with clear_endings(PeerError):
        asked = AppealRequest(strike=strike)
        ControlClient(data_directory).ask("POST", "/v1/appeal", HostAccount, asked)
        typer.echo(
            f"The appeal against strike {strike} went to the coordinator; `peerllm host earnings`"
            " shows in a moment that it was taken down, and until when it is decided."
        )


@control_app.command()
def drain(
    data_directory: DataDirectory,
    seconds: Annotated[
        int, typer.Option(min=0, max=3600, help="How long running answers may go on.")
    ] = 30,
) -> None:
    """Let running answers end, then stop."""
    with clear_endings(PeerError):
        _stop(data_directory, seconds)


@control_app.command()
def stop(data_directory: DataDirectory) -> None:
    """Stop at once, whatever is running."""
    with clear_endings(PeerError):
        _stop(data_directory, 0)


@control_app.command()
def logs(
    data_directory: DataDirectory,
    lines: Annotated[int, typer.Option(min=0, max=1000, help="How many of the last ones.")] = 100,
    follow: Annotated[bool, typer.Option(help="Go on with new ones as they come.")] = False,
) -> None:
    """Show what the host logged; there is no content in it."""
    with clear_endings(PeerError):
        client = ControlClient(data_directory)
        found = client.ask("GET", "/v1/log", LogLines).lines
        for line in found[max(0, len(found) - lines) :]:
            typer.echo(line)
        if follow:
            for name, value in client.events():
                if name == "log":
                    typer.echo(value.decode("utf-8", "replace"))
                    sys.stdout.flush()


@control_app.command(
    epilog="\b\nExamples:\n  peerllm host earnings --data-directory host\n"
    "  peerllm host earnings --data-directory host --json\n\n"
    "Exit codes: 0 shown, 1 not, 2 wrong usage."
)
def earnings(
    data_directory: DataDirectory,
    as_json: Annotated[
        bool, typer.Option("--json", help="Account and receipts; amounts in nano-USD.")
    ] = False,
) -> None:
    """Show this host's account as its coordinator told it, and what the host has signed for.

    The coordinator is asked every ten minutes. Receipts are counted by day (UTC) on this machine.
    """
    with clear_endings(PeerError):
        told = HostAccount()
        try:
            client = ControlClient(data_directory)
            found = client.ask("GET", "/v1/earnings", Earnings)
            # A host of an earlier release does not know the question.
            with suppress(ControlError):
                told = client.ask("GET", "/v1/account", HostAccount)
        except NotRunningError:
            found = read_earnings(data_directory / "earnings.json")
        if as_json:
            shown = {"account_told_at_us": told.told_at_us, "account": told.account}
            raw = msgspec.json.encode(shown | {"signed": found.days})
            typer.echo(msgspec.json.format(raw, indent=2))
            return
        Console().print(account_table(told, time.time_ns() // 1000), highlight=False)
        for row in found.days:
            typer.echo(
                f"{row.day}  {row.receipts} receipts, {row.prompt_tokens} prompt tokens, "
                f"{row.completion_tokens} answer tokens, model {row.model_digest[:12]}, "
                f"coordinator {row.coordinator[-6:]}"
            )
        receipts = sum(row.receipts for row in found.days)
        tokens = sum(row.completion_tokens for row in found.days)
        typer.echo(f"in all  {receipts} receipts, {tokens} answer tokens signed for")


@control_app.command()
def limits(
    data_directory: DataDirectory,
    schedule: Annotated[
        list[str] | None,
        typer.Option(help='When to serve, e.g. "mon-fri 18:00-08:00"; "always" for no schedule.'),
    ] = None,
    idle_minutes: Annotated[int | None, typer.Option(help="Others must be quiet so long.")] = None,
    on_battery: Annotated[bool | None, typer.Option(help="Serve on battery as well.")] = None,
    on_metered: Annotated[
        bool | None, typer.Option(help="Serve on a network paid for by the byte as well.")
    ] = None,
    beside_full_screen: Annotated[
        bool | None, typer.Option(help="Serve while a program in front fills the screen as well.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of the engine; 0 as started.")] = None,
    nice: Annotated[int | None, typer.Option(help="0 to 19; 19 stands back furthest.")] = None,
    memory_cap_mb: Annotated[int | None, typer.Option(help="0 is no cap.")] = None,
    maximum_celsius: Annotated[int | None, typer.Option(help="0 is no limit.")] = None,
    bandwidth_kib: Annotated[int | None, typer.Option(help="KiB a second; 0 is no cap.")] = None,
    share_models: Annotated[
        bool | None, typer.Option(help="Let other hosts of the network fetch model files here.")
    ] = None,
) -> None:
    """Show the limits, or change those given: in force within a second, nothing is dropped."""
    with clear_endings(PeerError):
        given: dict[str, object] = {
            "idle_minutes": idle_minutes,
            "on_battery": on_battery,
            "on_metered": on_metered,
            "beside_full_screen": beside_full_screen,
            "share_models": share_models,
            "threads": threads,
            "nice": nice,
            "memory_cap_bytes": None if memory_cap_mb is None else memory_cap_mb * _MEGABYTE,
            "maximum_celsius": maximum_celsius,
            "bandwidth_bytes_per_second": (
                None if bandwidth_kib is None else bandwidth_kib * _KIBIBYTE
            ),
        }
        if schedule is not None:
            windows = [schedule_window(text) for text in schedule if text != "always"]
            given["schedule"] = msgspec.to_builtins(windows)
        changes = {name: value for name, value in given.items() if value is not None}
        _print_limits(_change_limits(data_directory, changes))


def _change_limits(data_directory: Path, changes: dict[str, object]) -> Limits:
    path = data_directory / "limits.json"
    try:
        client = ControlClient(data_directory)
        before = client.ask("GET", "/v1/limits", Limits)
    except NotRunningError:
        client, before = None, read_state(path, Limits) or Limits()
    try:
        wanted = msgspec.convert(msgspec.to_builtins(before) | changes, Limits)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"that limit cannot be: {error}") from None
    if changes and client is not None:
        return client.ask("PUT", "/v1/limits", Status, wanted).limits
    if changes:
        write_state(path, wanted)
    return wanted


def _stop(data_directory: Path, seconds: int) -> None:
    client = ControlClient(data_directory)
    if seconds:
        client.ask("POST", "/v1/drain", Status, DrainRequest(seconds=seconds))
    else:
        client.ask("POST", "/v1/stop", Status)
    if not wait_for_end(client.process_id, seconds + _FAREWELL_SECONDS):
        raise StartError(f"the host (process {client.process_id}) has not ended yet")
    typer.echo("stopped")


def _print_status(found: Status) -> None:
    work = found.work
    reasons = f" ({', '.join(found.holds)})" if found.holds else ""
    since = datetime.fromtimestamp(found.started_at_us / 1e6, UTC).isoformat(" ", "seconds")
    typer.echo(f"{found.state}{reasons}, since {since}")
    typer.echo(f"host         {found.peer_id}")
    connected = "connected" if found.connected else "not connected"
    typer.echo(f"coordinator  {found.coordinator}, {connected}")
    if found.seat_pause is not None:
        typer.echo(f"paused       {describe_pause(found.seat_pause)}")
    for model in found.models:
        typer.echo(f"model        {describe_model(model)}")
    typer.echo(
        f"work         {found.running} running, {work.complete} complete, "
        f"{work.cancelled} cancelled, {work.failed} failed, {work.refused} refused; "
        f"{work.tokens_generated} tokens, {work.receipts_signed} receipts"
    )
    typer.echo(f"traffic      {found.bytes_received} bytes in, {found.bytes_sent} bytes out")
    _print_limits(found.limits)


def describe_pause(pause: SeatPause) -> str:
    """Why the network gives a host no work, until when, and the way back, in one line."""
    until = datetime.fromtimestamp(pause.until_us / 1e6, UTC).isoformat(" ", "minutes")
    return f"by the network ({pause.reason}) until {until}; the way back: {pause.way_back}"


def describe_model(model: ModelStatus) -> str:
    """A model of a running host in one line."""
    engine = model.engine
    parts = [f"{model.name} {model.digest[:12] or '(digest not known yet)'}"]
    parts[0] += " (preloaded)" if model.preloaded else ""
    state = engine.state.replace("_", " ")
    percent = f" {engine.percent}%" if engine.state == "loading" else ""
    parts.append(f"{state}{percent}{f': {engine.detail}' if engine.detail else ''}")
    if engine.state == "ready":
        parts.append(f"{engine.tokens_per_second_milli / 1000:.1f} tokens/s when loaded")
        parts.append(f"{engine.threads} threads, nice {engine.nice}")
    if model.slots:
        parts.append(f"{model.free_slots} of {model.slots} slots free, {model.running} running")
    return "; ".join(parts)


def _print_limits(found: Limits) -> None:
    rows = [
        ("paused", found.paused and "yes"),
        ("paused until", found.paused_until_us and _local_time(found.paused_until_us)),
        ("schedule", describe_schedule(found.schedule)),
        ("idle", found.idle_minutes and f"others quiet for {found.idle_minutes} minutes"),
        ("battery", "serve" if found.on_battery else "do not serve"),
        ("metered network", "serve" if found.on_metered else "do not serve"),
        ("full-screen program", "serve" if found.beside_full_screen else "do not serve"),
        ("threads", found.threads),
        ("nice", found.nice),
        ("memory", found.memory_cap_bytes and f"{found.memory_cap_bytes // _MEGABYTE} MB"),
        ("celsius", found.maximum_celsius),
        ("models", found.share_models and "shared with other hosts"),
        ("bandwidth", found.bandwidth_bytes_per_second and _rate(found)),
    ]
    typer.echo("limits       " + "; ".join(f"{name} {value}" for name, value in rows if value))


def _local_time(epoch_us: int) -> str:
    return datetime.fromtimestamp(epoch_us / 1e6).astimezone().strftime("%Y-%m-%d %H:%M")


def _rate(found: Limits) -> str:
    return f"{found.bandwidth_bytes_per_second // _KIBIBYTE} KiB/s"
