"""A host's part in the exchange of model files: it fetches one at a time and serves others."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import trio

from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import (
    Introduce,
    ModelHolder,
    ModelHolders,
    ModelNotFound,
    ModelSharing,
)
from peerllm.overlay.model_exchange import deny, serve_model
from peerllm.peer.bandwidth import Meter, MeteredStream
from peerllm.peer.catalogue import CatalogueError, LocalCatalogue
from peerllm.peer.errors import ModelError, PeerError
from peerllm.peer.events import HostEvent
from peerllm.peer.model_fetch import Fetched, FetchParts, ModelFetch
from peerllm.peer.model_fetch_api import RUNNING, FetchState, FetchStatus
from peerllm.peer.model_sharing import Guests, SharedModels
from peerllm.peer.models import DigestCache
from peerllm.privacy.event_log import EventLog

Introduction = ModelHolders | ModelNotFound | Introduce

# Holders used at once, and guests served at once. More make a home line no faster.
MAXIMUM_STREAMS: Final = 4
# Of half the owner's cap, so that a piece is not too long on its way.
_BYTES_PER_SECOND_A_STREAM: Final = 64 * 1024
# A coordinator answers from memory.
_ANSWER_SECONDS: Final = 15.0
# So that a part of the digest can be put behind it.
_LONGEST_NAME: Final = 100
_SHOWN_DIGEST: Final = 12
# A model added while the host runs is shared so much later.
_LOOK_SECONDS: Final = 30.0


class GuestStream(ByteStream, Protocol):
    """A stream whose other end has been authenticated."""

    @property
    def peer_id(self) -> str:
        """Who is at the other end."""


class Spokesman(Protocol):
    """Who talks with the coordinator."""

    def find_model(self, wanted: str) -> bool:
        """Ask it who holds a model's file; False when there is none that answers that."""

    def sharing_changed(self) -> None:
        """Tell it what others may fetch from here now."""


@dataclass(frozen=True, kw_only=True)
class ExchangeParts:
    """What the exchange works with; everything that differs between a test and a host.

    `dial` opens a stream to an address that ends in a peer id. `shares` is the owner's
    choice, `holding` whether a limit forbids new work now, `bytes_per_second` the owner's cap
    (0: none).
    """

    data_directory: Path
    dial: Callable[[str], Awaitable[ByteStream]]
    port: Callable[[], int | None]
    shares: Callable[[], bool]
    holding: Callable[[], bool]
    bytes_per_second: Callable[[], int]
    meter: Meter
    log: EventLog[HostEvent]


class ModelExchange:
    """Fetches when the owner says so, serves whom the coordinator has introduced."""

    def __init__(self, parts: ExchangeParts) -> None:
        self._parts = parts
        # Half of what the owner allows: the other half is for answers.
        self._share = Meter(lambda: parts.bytes_per_second() // 2)
        self._guests = Guests(trio.current_time)
        self._served: set[str] = set()
        self._library = SharedModels(parts.data_directory)
        self._look_now = trio.Event()
        self._asked = ""
        self._answer: ModelHolders | ModelNotFound | None = None
        self._answered = trio.Event()
        self._fetch: ModelFetch | None = None
        self._scope = trio.CancelScope()
        self._ended = FetchStatus(state="none")
        self._wanted, self._wanting = "", trio.Event()

    async def run(self, spokesman: Spokesman) -> None:
        """Fetch and share until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_sharing, spokesman)
            while True:
                await self._wanting.wait()
                await self._fetch_one(self._wanted, spokesman)
                self._wanting = trio.Event()

    # What the coordinator says.

    def on_introduction(self, message: Introduction) -> None:
        """Take note of what the coordinator answers and of whom it introduces."""
        if isinstance(message, Introduce):
            self._guests.admit(message)
        elif message.wanted == self._asked:
            self._answer = message
            self._answered.set()

    def sharing(self) -> ModelSharing | None:
        """What to tell coordinators that others may fetch from here."""
        port, digests = self._parts.port(), self._library.digests
        return ModelSharing(port=port, digests=digests) if port and digests else None

    # Other hosts.

    def admits(self, peer_id: str) -> bool:
        """Whether a host may connect: it was introduced, and the owner still shares."""
        return self._parts.shares() and self._guests.admits(peer_id)

    async def serve(self, stream: GuestStream) -> None:
        """Serve one guest. Raises `StreamClosed` and `FrameError`."""
        guest = stream.peer_id
        full = len(self._served) >= streams_under(self._parts.bytes_per_second())
        if full or guest in self._served or self._parts.holding():
            await deny(stream)
            return
        self._served.add(guest)
        try:
            await serve_model(
                self._metered(stream),
                self._library,
                admits=lambda digest: self._parts.shares() and self._guests.admits(guest, digest),
                # A file may take hours: long enough for the network to become a metered one.
                is_busy=self._parts.holding,
            )
        finally:
            self._served.discard(guest)

    # The owner.

    def start(self, wanted: str) -> str:
        """Begin to fetch a model; "" or, in one sentence, why not. Again is no fault."""
        if self.status.state in RUNNING:
            if wanted == self._wanted:
                return ""
            return f"{self._wanted} is being fetched: stop that first, or wait for it"
        self._wanted, self._scope = wanted, trio.CancelScope()
        self._ended = FetchStatus(state="finding", wanted=wanted)
        self._wanting.set()
        return ""

    def stop(self) -> None:
        """Stop fetching; what has come is kept."""
        self._scope.cancel()

    @property
    def status(self) -> FetchStatus:
        """The fetch that runs, or the last one."""
        fetch = self._fetch
        if fetch is None:
            return self._ended
        return self._status_of(fetch, fetch.stage)

    def limits_changed(self) -> None:
        """The owner may have changed what is shared."""
        self._look_now.set()

    async def _fetch_one(self, wanted: str, spokesman: Spokesman) -> None:
        parts = self._parts
        self._fetch = fetch = ModelFetch(
            wanted,
            FetchParts(
                directory=parts.data_directory / "models",
                find=partial(self._find, spokesman),
                open_stream=self._open_stream,
                local=self._local,
                streams=lambda: streams_under(parts.bytes_per_second()),
                log=parts.log,
            ),
        )
        parts.log.event("fetch_begun", model=wanted)
        ended = self._status_of(fetch, "stopped")
        try:
            with self._scope:
                fetched = await fetch.run()
                path = await trio.to_thread.run_sync(self._enter, fetched)
                ended = self._status_of(fetch, "complete", path=str(path))
            if self._scope.cancelled_caught:
                ended = self._status_of(fetch, "stopped")
        except PeerError as error:
            ended = self._status_of(fetch, "failed", sentence=str(error))
        except OSError as error:
            sentence = f"the catalogue cannot be written: {error.strerror}"
            ended = self._status_of(fetch, "failed", sentence=sentence)
        finally:
            self._fetch, self._ended = None, ended
            parts.log.event("fetch_ended", outcome=ended.state, done_bytes=ended.done_bytes)
            self._look_now.set()

    def _status_of(
        self, fetch: ModelFetch, state: FetchState, *, sentence: str = "", path: str = ""
    ) -> FetchStatus:
        facts = fetch.facts
        return FetchStatus(
            state=state,
            wanted=fetch.wanted,
            name=fetch.name,
            digest=facts.digest.hex() if facts else "",
            file_bytes=facts.file_bytes if facts else 0,
            done_bytes=fetch.done_bytes,
            holders=len(fetch.holders),
            liars=len(fetch.liars),
            sentence=sentence,
            path=path,
        )

    def _enter(self, fetched: Fetched) -> Path:
        """Enter a fetched file into the local catalogue; its name may be another's there."""
        catalogue = LocalCatalogue(self._parts.data_directory)
        # The network may call models what this catalogue cannot.
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", fetched.name)[:_LONGEST_NAME]
        try:
            catalogue.add(fetched.path, name)
        except CatalogueError:
            catalogue.add(fetched.path, f"{name}-{fetched.path.stem[:_SHOWN_DIGEST]}")
        return fetched.path

    def _local(self, digest: bytes) -> Path | None:
        model = LocalCatalogue(self._parts.data_directory).models().get(digest.hex())
        if model is None:
            return None
        path = Path(model.path)
        try:
            # Read anew: whoever fetches what is here has found it damaged, as a rule.
            whole = path.stat().st_size == model.file_bytes and DigestCache(None).digest(path)
        except (ModelError, OSError):
            return None
        return path if whole == digest else None

    async def _find(self, spokesman: Spokesman, wanted: str) -> ModelHolders | ModelNotFound | None:
        self._asked, self._answer, self._answered = wanted, None, trio.Event()
        if not spokesman.find_model(wanted):
            return None
        with trio.move_on_after(_ANSWER_SECONDS):
            await self._answered.wait()
        return self._answer

    async def _open_stream(self, holder: ModelHolder) -> ByteStream:
        return self._metered(await self._parts.dial(f"{holder.address}/p2p/{holder.peer_id}"))

    def _metered(self, stream: ByteStream) -> ByteStream:
        return MeteredStream(MeteredStream(stream, self._parts.meter), self._share)

    async def _keep_sharing(self, spokesman: Spokesman) -> None:
        while True:
            if await self._library.look(share=self._parts.shares()):
                self._parts.log.event("sharing", models=len(self._library.digests))
                spokesman.sharing_changed()
            with trio.move_on_after(_LOOK_SECONDS):
                await self._look_now.wait()
            self._look_now = trio.Event()


def streams_under(bytes_per_second: int) -> int:
    """How many streams at once an owner's cap has room for; 0 is no cap."""
    if bytes_per_second <= 0:
        return MAXIMUM_STREAMS
    return max(1, min(MAXIMUM_STREAMS, bytes_per_second // (2 * _BYTES_PER_SECOND_A_STREAM)))
