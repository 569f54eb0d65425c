"""The operator's command for the window."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.privacy.endings import clear_endings
from peerllm.privacy.process_memory import forbid_memory_dumps

desktop_app = typer.Typer(
    name="desktop",
    add_completion=False,
    help="A window and a tray icon for the host of this computer.",
    pretty_exceptions_enable=False,
)


@desktop_app.command()
def desktop(
    data_directory: Annotated[
        Path | None,
        typer.Option("--data-directory", help="Folder of the host's key and state."),
    ] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Only the tray icon, as after a login.")
    ] = False,
) -> None:
    """Show the window. The host goes on when it is closed.

    For example: peerllm desktop; or, beside a host of another folder:
    peerllm desktop --data-directory ~/second-host
    """
    with clear_endings(PeerError):
        _check_display()
        # A conversation of the page Chat is in this process's memory.
        forbid_memory_dumps()
        try:
            # Only now: what Qt is made of may be missing, which is worth a sentence.
            from peerllm.peer.desktop.application import (  # noqa: PLC0415
                default_data_directory,
                run_desktop,
            )
        except ModuleNotFoundError as missing:
            raise ConfigurationError(
                f"the window needs the package {missing.name}: install peerllm[desktop]"
            ) from None
        except ImportError as missing:
            raise ConfigurationError(
                f"the window's graphics libraries cannot be loaded ({missing.msg}): on Debian and "
                "Ubuntu, install libegl1 libxkbcommon-x11-0 libxcb-cursor0"
            ) from None
        folder = (data_directory or default_data_directory()).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        raise typer.Exit(run_desktop(folder, hidden=hidden))


def _check_display() -> None:
    """Without a display, Qt ends the process with a dump of its own."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in names):
        raise ConfigurationError(
            "there is no display here: the window needs a graphical session; without one, use "
            "peerllm host status and peerllm host limits"
        )
