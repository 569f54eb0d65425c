"""Fetching one model's file from several hosts at once, until it is whole or cannot be had."""

import hashlib
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import trio

from peerllm.overlay.errors import AddressError, DialError, FrameError, StreamClosed
from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import ModelHolder, ModelHolders, ModelNotFound
from peerllm.overlay.model_exchange import HolderStream
from peerllm.overlay.model_messages import Denied, PieceAnswer
from peerllm.overlay.model_pieces import Assembly, ModelFacts
from peerllm.peer.events import HostEvent
from peerllm.peer.model_fetch_files import FetchError, PartialModel
from peerllm.privacy.event_log import EventLog

FetchStage = Literal["finding", "resuming", "fetching", "checking"]

# A file asked for by its SHA-256 is no other one, whoever says so.
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
# Well before what the holders have been told runs out, which is a quarter of an hour.
_RENEW_SECONDS: Final = 600.0
# Who holds a model changes within minutes; a fetch that finds nobody in five gives up.
_PAUSES_SECONDS: Final = (5.0, 15.0, 40.0, 60.0, 60.0, 120.0)
# How long a holder without a piece to be asked for waits to be needed near the end.
_IDLE_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class FetchParts:
    """What a fetch works with; everything that differs between a test and a host.

    `find` gives None without a coordinator that answers. `open_stream` raises `DialError`,
    `AddressError` or `StreamClosed`. `local` names a file that is here already and
    whole, which it finds out in a thread. `streams` is how many holders to use at once.
    """

    directory: Path
    find: Callable[[str], Awaitable[ModelHolders | ModelNotFound | None]]
    open_stream: Callable[[ModelHolder], Awaitable[ByteStream]]
    local: Callable[[bytes], Path | None]
    streams: Callable[[], int]
    log: EventLog[HostEvent]


@dataclass(frozen=True)
class Fetched:
    """A model's file, whole, and the name that the network's catalogue gives it."""

    path: Path
    name: str


class ModelFetch:
    """One fetch, to be run once. What can be seen of it meanwhile are its attributes."""

    def __init__(self, wanted: str, parts: FetchParts) -> None:
        self.wanted = wanted
        self.stage: FetchStage = "finding"
        self.name = ""
        self.facts: ModelFacts | None = None
        self.done_bytes = 0
        # Holders that send pieces now, and those dropped for a false one.
        self.holders: set[str] = set()
        self.liars: set[str] = set()
        self._parts = parts

    async def run(self) -> Fetched:
        """Fetch. Raises `FetchError`; what has come by then is kept for the next time."""
        found = await self._find()
        self.name = found.name
        self.facts = facts = ModelFacts(
            digest=found.digest, file_bytes=found.file_bytes, list_digest=found.list_digest
        )
        self.stage = "checking"
        here = await trio.to_thread.run_sync(
            self._parts.local, facts.digest, abandon_on_cancel=True
        )
        if here is not None:
            self.done_bytes = facts.file_bytes
            return Fetched(here, found.name)
        files = PartialModel(self._parts.directory, facts)
        if not await files.is_here():
            assembly = Assembly(facts)
            await self._gather(found, _Gathering(self, self._parts, files, assembly))
            self.stage = "checking"
            await files.finish()
        return Fetched(files.path, found.name)

    async def _gather(self, found: ModelHolders, gathering: "_Gathering") -> None:
        if await gathering.resume():
            return
        pauses = deque(_PAUSES_SECONDS)
        while True:
            self.stage = "fetching"
            before = self.done_bytes
            if await gathering.run(found.holders, self._find):
                return
            if self.done_bytes > before:
                pauses = deque(_PAUSES_SECONDS)
            if not pauses:
                raise FetchError("no_holders", self._nobody(found))
            self.stage = "finding"
            await trio.sleep(pauses.popleft())
            try:
                found = await self._find()
            except FetchError as error:
                # A coordinator that restarts or asks for patience ends no fetch: the
                # holders named before may still know this host.
                if error.reason not in ("too_often", "not_connected"):
                    raise

    async def _find(self) -> ModelHolders:
        found = await self._parts.find(self.wanted)
        if found is None:
            raise FetchError(
                "not_connected",
                "no coordinator that knows who holds models is connected: see peerllm host status",
            )
        if isinstance(found, ModelNotFound):
            raise FetchError(
                found.reason,
                "the coordinator has been asked too often: try again in some minutes"
                if found.reason == "too_often"
                else f"the coordinator serves no model called {self.wanted!r}: give a name of "
                "the network's catalogue or a whole SHA-256",
            )
        if _DIGEST.fullmatch(self.wanted) and found.digest.hex() != self.wanted.lower():
            raise FetchError(
                "digest_mismatch",
                f"the coordinator names the file {found.digest.hex()} for {self.wanted}: tell its "
                "operator. Nothing was fetched",
            )
        if self.facts is not None and found.digest != self.facts.digest:
            raise FetchError(
                "unknown_model",
                f"{self.wanted} names another file now: fetch again to get that one",
            )
        return found

    def _nobody(self, found: ModelHolders) -> str:
        why = "all of them were out of reach, busy or wrong" if found.holders else "none is known"
        return (
            f"no host sends {self.name} at the moment ({why}): try again later; "
            "what is here already is kept"
        )

    def note(self, done_bytes: int) -> None:
        """Take note of how far the present stage is."""
        self.done_bytes = done_bytes


class _Gathering:
    """Asks holders for pieces and writes them down, until none is missing or nobody is left."""

    def __init__(
        self, fetch: ModelFetch, parts: FetchParts, files: PartialModel, assembly: Assembly
    ) -> None:
        self._fetch = fetch
        self._parts = parts
        self._files = files
        self.assembly = assembly
        self._beginning = trio.Lock()
        self._waiting: deque[ModelHolder] = deque()
        self._working = 0
        self._failure: FetchError | None = None
        self._changed = trio.Event()

    async def resume(self) -> bool:
        """Take up what an earlier fetch has left; whether that is all."""
        pieces = await self._files.saved_list()
        if pieces is not None:
            self._fetch.stage = "resuming"
            self.assembly.begin(pieces, await self._files.begin(pieces, self._fetch.note))
            self._fetch.note(self.assembly.stored_bytes)
        return self.assembly.is_complete

    async def run(
        self, holders: list[ModelHolder], find: Callable[[], Awaitable[ModelHolders]]
    ) -> bool:
        """Use these holders, and those that `find` names later; whether all is here then.

        Raises `FetchError`.
        """
        async with trio.open_nursery() as nursery:
            self._enlist(holders, nursery)
            nursery.start_soon(self._renew, find, nursery)
            while self._working and not self.assembly.is_complete and self._failure is None:
                await self._changed.wait()
            nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        return self.assembly.is_complete

    def _enlist(self, holders: list[ModelHolder], nursery: trio.Nursery) -> None:
        known = {holder.peer_id for holder in self._waiting} | self._fetch.holders
        new = {holder.peer_id: holder for holder in holders if holder.peer_id not in known}
        self._waiting += new.values()
        for _ in range(min(len(self._waiting), max(1, self._parts.streams()) - self._working)):
            self._working += 1
            nursery.start_soon(self._work)

    async def _renew(
        self, find: Callable[[], Awaitable[ModelHolders]], nursery: trio.Nursery
    ) -> None:
        """Have this host introduced again before its introductions run out."""
        while True:
            await trio.sleep(_RENEW_SECONDS)
            try:
                self._enlist((await find()).holders, nursery)
            except FetchError as error:
                # The holders there are may see it through.
                self._parts.log.event("holders_not_found", reason=error.reason)

    async def _work(self) -> None:
        """Use one holder after the other."""
        try:
            while self._waiting:
                holder = self._waiting.popleft()
                if holder.peer_id not in self.assembly.liars:
                    await self._use(holder)
        except FetchError as error:
            self._failure = self._failure or error
        finally:
            self._working -= 1
            self._tell()

    async def _use(self, holder: ModelHolder) -> None:
        """Fetch from one holder until it fails or nothing is missing. Raises `FetchError`."""
        peer, reason = holder.peer_id, "done"
        self._fetch.holders.add(peer)
        try:
            stream = await self._parts.open_stream(holder)
            link = HolderStream(stream, self._files.facts.digest)
            try:
                reason = await self._talk(peer, link)
            finally:
                await link.close()
        except (DialError, AddressError):
            reason = "unreachable"
        except StreamClosed:
            reason = "lost"
        except FrameError as error:
            reason = error.reason
        finally:
            self._fetch.holders.discard(peer)
            self._fetch.liars |= self.assembly.liars
            self.assembly.leave(peer)
            self._tell()
        self._parts.log.event("holder_left", host=peer, reason=reason)

    async def _talk(self, peer: str, link: HolderStream) -> str:
        """Ask and take; gives the reason why it ended."""
        if self.assembly.pieces is None and (refusal := await self._begin(peer, link)):
            return refusal
        on_the_way = 0
        while not self.assembly.is_complete:
            while (index := self.assembly.assign(peer, trio.current_time())) is not None:
                await link.ask(index)
                on_the_way += 1
            if not on_the_way:
                with trio.move_on_after(_IDLE_SECONDS):
                    await self._changed.wait()
                continue
            answer = await link.piece()
            if isinstance(answer, Denied):
                return answer.reason
            on_the_way -= 1
            if not await self._take(peer, answer):
                return "false_piece"
        return "done"

    async def _begin(self, peer: str, link: HolderStream) -> str:
        """Get the list of pieces; gives the reason when this holder has no true one."""
        hashes = await link.pieces()
        if isinstance(hashes, Denied):
            return hashes.reason
        async with self._beginning:
            if self.assembly.pieces is None:
                pieces = self.assembly.offer_list(peer, hashes)
                if pieces is None:
                    return "false_list"
                held = await self._files.begin(pieces, lambda _: None)
                self.assembly.begin(pieces, held)
                self._fetch.note(self.assembly.stored_bytes)
        return ""

    async def _take(self, peer: str, answer: PieceAnswer) -> bool:
        """Check a piece and write it down; False when it is not what was asked for."""
        digest = await trio.to_thread.run_sync(_sha256, answer.data)
        verdict = self.assembly.receive(peer, answer.index, digest)
        if verdict == "store":
            try:
                await self._files.write(answer.index, answer.data)
            except BaseException:
                self.assembly.not_stored(answer.index)
                raise
            self.assembly.stored(answer.index)
            self._fetch.note(self.assembly.stored_bytes)
            self._tell()
        return verdict in ("store", "surplus")

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
