"""The operator's command line for the models of a running host, over the control API."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from peerllm.peer.control_api import ModelRequest, ModelStatus
from peerllm.peer.control_client import ControlClient, ControlError
from peerllm.peer.control_commands import describe_model
from peerllm.peer.errors import PeerError
from peerllm.peer.host_settings import lasting
from peerllm.privacy.endings import clear_endings

load_app = typer.Typer(pretty_exceptions_enable=False)

DataDirectory = Annotated[
    Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
]
_LOOK_SECONDS: Final = 0.1
_ON_THE_WAY: Final = frozenset({"waiting", "loading", "restarting"})


@load_app.command()
def load(
    data_directory: DataDirectory,
    model: Annotated[
        str, typer.Argument(help="A model of the host or the catalogue, or a GGUF file.")
    ],
    seconds: Annotated[
        int, typer.Option(min=0, max=3600, help="How long to wait until it is loaded.")
    ] = 600,
) -> None:
    """Serve a model from its file as it is now; also one that was unloaded or could not be served.

    A model that the host was not started with is served until the host stops.
    """
    with clear_endings(PeerError):
        client = ControlClient(data_directory)
        asked = ModelRequest(model=lasting(model))
        found = client.ask("POST", "/v1/models/load", ModelStatus, asked)
        deadline = time.monotonic() + seconds
        while found.engine.state in _ON_THE_WAY and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            found = next(one for one in client.status().models if one.name == found.name)
        if found.engine.state != "ready":
            raise ControlError(describe_model(found))
        typer.echo(describe_model(found))


@load_app.command()
def unload(
    data_directory: DataDirectory,
    model: Annotated[str, typer.Argument(help="A model of the running host.")],
) -> None:
    """Grant no more slots for a model; it is unloaded when the last chunk on it has ended."""
    with clear_endings(PeerError):
        asked = ModelRequest(model=model)
        client = ControlClient(data_directory)
        typer.echo(describe_model(client.ask("POST", "/v1/models/unload", ModelStatus, asked)))
