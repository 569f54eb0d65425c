"""Holders in memory that send a model's file, each in its own way."""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio
from trio.testing import memory_stream_pair

from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import DialError, FrameError, StreamClosed
from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import ModelHolder, ModelHolders, ModelNotFound
from peerllm.overlay.model_exchange import serve_model
from peerllm.overlay.model_pieces import PIECE_BYTES, ModelFacts, summarise
from peerllm.peer.model_fetch import FetchParts
from peerllm.privacy.event_log import EventLog
from tests.peer.gguf_files import SHAPE, entry, gguf, tensor

NAME = "tiny-model"
Ways = Literal[
    "honest", "false_piece", "false_list", "vanishing", "silent", "slow", "unreachable", "denying"
]


def model_file(pieces: int) -> bytes:
    """A model whose file has so many pieces, the last one cut short."""
    values = (pieces * PIECE_BYTES - PIECE_BYTES // 2) // 4 // 32 * 32
    data = random.Random(pieces).randbytes(values * 4)
    return gguf([entry(key, value) for key, value in SHAPE.items()], [tensor([values])], data)


async def inline(work: Callable[..., Any], *arguments: Any, **_options: Any) -> Any:
    """Instead of a thread: the clock of a test does not wait for threads."""
    await trio.lowlevel.checkpoint()
    return work(*arguments)


class PipeStream:
    """One end of a stream in memory."""

    def __init__(self, stream: trio.abc.Stream, peer_id: str = "") -> None:
        self._stream = stream
        self.peer_id = peer_id

    async def read(self, maximum: int) -> bytes:
        try:
            return bytes(await self._stream.receive_some(maximum))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise StreamClosed("broken") from None

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise StreamClosed("broken") from None

    async def close(self) -> None:
        await self._stream.aclose()


def pipe(peer_id: str = "") -> tuple[PipeStream, PipeStream]:
    one, other = memory_stream_pair()
    return PipeStream(one, peer_id), PipeStream(other, peer_id)


@dataclass
class SimulatedHolder:
    """A holder; `asked` are the pieces it was asked for."""

    content: bytes
    ways: Ways = "honest"
    life: int = 2
    asked: list[int] = field(default_factory=list)
    dialled: int = 0

    async def hashes(self, _digest: bytes) -> bytes | None:
        if self.ways == "denying":
            return None
        hashes = summarise(io.BytesIO(self.content).read)[1].hashes
        return bytes(len(hashes)) if self.ways == "false_list" else hashes

    async def piece(self, _digest: bytes, index: int) -> bytes | None:
        self.asked.append(index)
        data = self.content[index * PIECE_BYTES :][:PIECE_BYTES]
        match self.ways:
            case "denying":
                return None
            case "false_piece":
                return data[:-1] + bytes([data[-1] ^ 1])
            case "silent":
                await trio.sleep_forever()
            case "slow":
                await trio.sleep(19)
            case "vanishing" if len(self.asked) > self.life:
                raise StreamClosed("vanished")
        return data


class Stage:
    """A fetch's surroundings: a coordinator that names holders, and streams to them."""

    def __init__(self, directory: Path, content: bytes, *ways: Ways) -> None:
        self.directory, self.content = directory, content
        self.facts: ModelFacts = summarise(io.BytesIO(content).read)[0]
        self.holders: dict[str, SimulatedHolder] = {}
        self.answer: ModelHolders | ModelNotFound | None = None
        self.found = 0
        self.local: Path | None = None
        self.output = io.StringIO()
        for way in ways:
            self.add(way)

    def add(self, ways: Ways) -> SimulatedHolder:
        peer_id = Identity.from_seed(bytes([len(self.holders)]) * 32).peer_id
        self.holders[peer_id] = SimulatedHolder(self.content, ways)
        return self.holders[peer_id]

    def named(self) -> ModelHolders:
        address = "/ip4/192.0.2.7/tcp/4001"
        return ModelHolders(
            wanted=NAME,
            name=NAME,
            digest=self.facts.digest,
            file_bytes=self.facts.file_bytes,
            list_digest=self.facts.list_digest,
            holders=[ModelHolder(peer_id=peer_id, address=address) for peer_id in self.holders],
        )

    def parts(self, nursery: trio.Nursery) -> FetchParts:
        async def find(_wanted: str) -> ModelHolders | ModelNotFound | None:
            await trio.lowlevel.checkpoint()
            self.found += 1
            return self.answer if self.found > 1 and self.answer else self.named()

        async def open_stream(holder: ModelHolder) -> ByteStream:
            await trio.lowlevel.checkpoint()
            simulated = self.holders[holder.peer_id]
            simulated.dialled += 1
            if simulated.ways == "unreachable":
                raise DialError("nobody there")
            here, there = pipe()
            nursery.start_soon(self.serve, simulated, there)
            return here

        return FetchParts(
            directory=self.directory,
            find=find,
            open_stream=open_stream,
            local=lambda _digest: self.local,
            streams=lambda: 4,
            log=EventLog(lambda: 0, self.output),
        )

    async def serve(self, holder: SimulatedHolder, stream: PipeStream) -> None:
        try:
            await serve_model(stream, holder, admits=lambda _digest: True)
        except (StreamClosed, FrameError):
            pass
        finally:
            await stream.close()
