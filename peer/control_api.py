"""What a host tells and takes over its local control API, version 1.

HTTP/1.1 with JSON bodies on the loopback interface, so that a command line, a script and
a window's network classes can all speak it. Every request carries the token out of
`control.json` in the data directory (`Authorization: Bearer ...`), which only the owner
can read. A change within version 1 only adds fields.

    GET  /v1/status        Status
    GET  /v1/limits        Limits              PUT replaces them
    POST /v1/pause         {"seconds": 3600}   take no new work for so long; {}: until resumed
    POST /v1/resume                            take work again
    POST /v1/drain         {"seconds": 30}     let answers end, then stop
    POST /v1/stop                              stop at once
    POST /v1/models/load   {"model": "name"}   serve it, from its file as it is now: ModelStatus
    POST /v1/models/unload {"model": "name"}   no more slots, gone after its last chunk: ModelStatus
    GET, POST /v1/fetch, POST /v1/fetch/stop   a model from other hosts, see model_fetch_api
    GET  /v1/earnings      Earnings
    GET  /v1/account       HostAccount         what the coordinator last said of this host's account
    POST /v1/appeal        {"strike": 7}       appeal against a strike of the account: HostAccount
    GET  /v1/catalogue     HostCatalogue       the network's models and this host's place in line
    POST /v1/catalogue/look                    ask the coordinator again: HostCatalogue
    POST /v1/seat/take     {"region": "name"}  take the seats offered there: HostCatalogue
    POST /v1/line/leave    {"region": "name"}  give up the places in line there: HostCatalogue
    GET  /v1/receipts      Receipts            the last ones signed, newest first
    POST /v1/chat          ask a model of this host, see local_chat: server-sent events
    GET  /v1/log           {"lines": [...]}    the last events, oldest first
    GET  /v1/events        server-sent events: "status" at every change, "log" per event
"""

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from peerllm.overlay.account_messages import Account, Word
from peerllm.overlay.catalogue_messages import Catalogue
from peerllm.overlay.messages import SeatPause
from peerllm.peer.limits import LONGEST_PAUSE_SECONDS, HoldReason, Limits
from peerllm.peer.senses import Senses

API_VERSION: Final = 1
CONTROL_FILE: Final = "control.json"
# Limits with the longest schedule take 4 KB.
MAXIMUM_BODY_BYTES: Final = 64 * 1024


class ControlFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the running host listens and the token to show; mode 0600."""

    version: int = API_VERSION
    port: Annotated[int, Meta(ge=1, le=65535)]
    token: str
    process_id: Annotated[int, Meta(ge=1, le=2**31 - 1)]

    def __repr__(self) -> str:
        return f"ControlFile(port={self.port}, process_id={self.process_id})"


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A model's engine. `detail`: why it restarts, cannot serve or is not loaded.

    waiting: its file is being read, or another model is loaded first.
    """

    state: Literal["waiting", "not_loaded", "loading", "ready", "restarting", "unavailable"]
    detail: str = ""
    percent: int = 0
    process_id: int | None = None
    tokens_per_second_milli: int = 0
    context_tokens: int = 0
    # In force, which limits may take a moment to become; 0 until known.
    threads: int = 0
    nice: int = 0


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One of the host's models. The digest is empty until the file has been read."""

    name: str
    digest: str
    preloaded: bool
    # Predicted, with all slots in use; 0 until the file has been read.
    memory_bytes: int
    # What the last load took, from the decision to load until it took work.
    load_milliseconds: int
    slots: int
    free_slots: int
    running: int
    engine: EngineStatus


class WorkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What was done since the host started."""

    complete: int = 0
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    tokens_generated: int = 0
    receipts_signed: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A host at one moment."""

    version: int = API_VERSION
    software: str
    peer_id: str
    coordinator: str
    started_at_us: int
    connected: bool
    # serving: takes work; holding: a limit forbids it; waiting: no model or no coordinator.
    state: Literal["serving", "holding", "draining", "waiting"]
    holds: list[HoldReason]
    # While the network gives this host no work: why, what ends it, and when it ends by itself.
    seat_pause: SeatPause | None = None
    models: list[ModelStatus] = []
    # Of the first of the models.
    model: str
    model_digest: str
    slots: int
    free_slots: int
    running: int
    bytes_received: int
    bytes_sent: int
    # Of the first of the models.
    engine: EngineStatus
    work: WorkStatus
    limits: Limits
    # What this machine tells, for limits that need it; None from a host of an earlier release.
    senses: Senses | None = None
    # When the coordinator last told this host's account, by this host's clock; 0 if it never did.
    account_told_at_us: int = 0
    # The same of the network's models.
    catalogue_told_at_us: int = 0


class HostAccount(msgspec.Struct, frozen=True, kw_only=True):
    """This host's account in its coordinator's words; told at `told_at_us` by this host's clock.

    None while it is not known: never connected since the start, or to a coordinator that does
    not tell accounts.
    """

    told_at_us: int = 0
    account: Account | None = None


class HostCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    """The network's models in its coordinator's words; told at `told_at_us` by this host's clock.

    None while it is not known: never reached since the start, or a coordinator that does not tell.
    """

    told_at_us: int = 0
    catalogue: Catalogue | None = None


class RegionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A region in which this host is in line."""

    region: Word


class AppealRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strike of this host's, by its number in the account."""

    strike: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class PauseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long; 0 is until resumed."""

    seconds: Annotated[int, Meta(ge=0, le=LONGEST_PAUSE_SECONDS)] = 0


class DrainRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long running answers may go on."""

    seconds: Annotated[int, Meta(ge=0, le=3600)] = 30


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model: its name, the first characters of its digest, or a file's path."""

    # It comes back in sentences that are shown in terminals: no control characters.
    model: Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]


class LogLines(msgspec.Struct, frozen=True, kw_only=True):
    """Events as they were logged, each a JSON object."""

    lines: list[str]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not served, in one sentence."""

    error: str


def control_path(data_directory: Path) -> Path:
    """Where a running host says how to reach it."""
    return data_directory / CONTROL_FILE
