"""What the control API says about fetching a model from other hosts.

GET  /v1/fetch         FetchStatus of the fetch that runs, or of the last one
POST /v1/fetch         {"model": "name or digest"}   begin; or go on after a stop
POST /v1/fetch/stop                                  stop; what has come is kept
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FetchState = Literal[
    "none",
    "finding",
    "resuming",
    "fetching",
    "checking",
    "complete",
    "failed",
    "stopped",
]
RUNNING: frozenset[FetchState] = frozenset({"finding", "resuming", "fetching", "checking"})


class FetchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name of the network's catalogue, or the SHA-256 of the file in hexadecimal."""

    model: Annotated[str, Meta(pattern=r"\A[!-~]{1,128}\Z")]


class FetchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One fetch at one moment. `sentence` says why it failed, for the owner."""

    state: FetchState
    wanted: str = ""
    # As the network's catalogue has it, once a coordinator has said so.
    name: str = ""
    digest: str = ""
    file_bytes: int = 0
    done_bytes: int = 0
    # That send pieces now, and that were dropped for sending a false one.
    holders: int = 0
    liars: int = 0
    sentence: str = ""
    path: str = ""
