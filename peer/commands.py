"""The operator's command line: run a host, show who it is."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import trio
import typer

from peerllm.crypto.errors import CryptoError
from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import OverlayError
from peerllm.peer.catalogue import find_models
from peerllm.peer.configuration import (
    DEFAULT_CONTEXT_TOKENS,
    HostConfiguration,
    coordinator_address,
    identity_path,
)
from peerllm.peer.control_commands import Models, Preloaded, control_app
from peerllm.peer.detached import LOG_FILE, is_running, turn_over
from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.peer.events import HostEvent
from peerllm.peer.host_settings import HostSettings, lasting, save_settings
from peerllm.peer.recent_log import RecentLog
from peerllm.peer.seat_commands import seat_app
from peerllm.peer.service import now_us, run_host
from peerllm.peer.setup_commands import setup_app
from peerllm.peer.sole_host import sole_host
from peerllm.privacy.endings import clear_endings
from peerllm.privacy.event_log import EventLog, LibraryLog
from peerllm.privacy.process_memory import forbid_memory_dumps

# A traceback in a terminal may show what a host works on; none is ever printed.
host_app = typer.Typer(
    name="host",
    add_completion=False,
    help="Serve models from this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

host_app.add_typer(control_app)
host_app.add_typer(setup_app)
host_app.add_typer(seat_app)

DataDirectory = Annotated[
    Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
]
_EXPECTED: Final = (PeerError, CryptoError, OverlayError)


@host_app.command()
def run(
    data_directory: DataDirectory,
    coordinator: Annotated[
        str, typer.Option(help="An invitation, or /ip4/ADDRESS/tcp/PORT/p2p/PEER-ID.")
    ],
    listen_address: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104
    listen_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks one.")
    ] = 0,
    model: Models = None,
    preload: Preloaded = None,
    slots: Annotated[
        int,
        typer.Option(
            help="Answers generated at once, by all models together; 0 measures what is best."
        ),
    ] = 0,
    context: Annotated[
        int, typer.Option(help="Tokens of prompt and answer per slot.")
    ] = DEFAULT_CONTEXT_TOKENS,
    threads: Annotated[
        int,
        typer.Option(
            help="Processor threads; 0 measures what is best, leaving a core to the machine."
        ),
    ] = 0,
    drain_seconds: Annotated[
        int, typer.Option(help="How long running answers may go on when asked to stop.")
    ] = 30,
) -> None:
    """Serve until interrupted. Events go to standard error, one JSON object a line."""
    recent = RecentLog(sys.stderr, partial(turn_over, data_directory / LOG_FILE))
    log = EventLog[HostEvent](now_us, recent)
    with clear_endings(*_EXPECTED, crashed=lambda place: log.event("crashed", place=place)):
        named, first = ([lasting(one) for one in given or []] for given in (model, preload))
        preloaded = find_models(data_directory, first) if first else ()
        coordinator = coordinator_address(coordinator)
        configuration = HostConfiguration(
            data_directory=data_directory,
            coordinator=coordinator,
            listen_address=listen_address,
            listen_port=listen_port,
            models=find_models(data_directory, [*first, *named]),
            preloaded=tuple(one.name for one in preloaded),
            slots=slots,
            context_tokens=context,
            threads=threads,
            drain_seconds=drain_seconds,
        )
        if is_running(data_directory):
            raise ConfigurationError(f"a host already runs from {data_directory}")
        with sole_host(data_directory):
            save_settings(
                data_directory,
                HostSettings(
                    coordinator=coordinator,
                    listen_address=listen_address,
                    listen_port=listen_port,
                    models=named,
                    preload=first,
                    slots=slots,
                    context=context,
                    threads=threads,
                    drain_seconds=drain_seconds,
                ),
            )
            logging.getLogger().addHandler(LibraryLog(log, "library_warning"))
            forbid_memory_dumps()
            trio.run(run_host, configuration, log, recent)


@host_app.command()
def identity(data_directory: DataDirectory) -> None:
    """Print the host's peer id, creating its identity when there is none."""
    with clear_endings(*_EXPECTED):
        data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        typer.echo(Identity.load_or_create(identity_path(data_directory)).peer_id)
