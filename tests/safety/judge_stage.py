"""What tests of stronger judges share: a local HTTP server and scripted judges."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from peerllm.safety.stronger_judges import JudgeFailure, Role

Answer = Callable[["Asked", trio.SocketStream], Awaitable[None]]


@dataclass
class Asked:
    """One request as it arrived."""

    head: str
    body: bytes

    @property
    def path(self) -> str:
        return self.head.split(" ")[1]


@dataclass
class JudgeServer:
    """A server on this machine; `answer` is called for each request."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)


@asynccontextmanager
async def judge_server(answer: Answer) -> AsyncIterator[JudgeServer]:
    server = JudgeServer()

    async def read_until(stream: trio.SocketStream, received: bytes, size: int) -> bytes:
        while len(received) < size:
            more = await stream.receive_some()
            if not more:
                raise trio.EndOfChannel
            received += more
        return received

    async def serve(stream: trio.SocketStream) -> None:
        gone = (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)
        received = b""
        async with stream:
            with suppress(*gone):
                while True:
                    while b"\r\n\r\n" not in received:
                        received = await read_until(stream, received, len(received) + 1)
                    head, _, received = received.partition(b"\r\n\r\n")
                    text = head.decode()
                    size = next(
                        int(line.split(":")[1])
                        for line in text.splitlines()
                        if line.lower().startswith("content-length:")
                    )
                    received = await read_until(stream, received, size)
                    asked = Asked(text, received[:size])
                    received = received[size:]
                    server.asked.append(asked)
                    await answer(asked, stream)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
        )
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield server
        nursery.cancel_scope.cancel()


def response(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def replying(*replies: bytes) -> Answer:
    """Each request gets the next reply, the last one again and again."""
    left = list(replies)

    async def answer(_asked: Asked, stream: trio.SocketStream) -> None:
        await stream.send_all(left.pop(0) if len(left) > 1 else left[0])

    return answer


def azure_reply(**severities: int) -> bytes:
    named = {"Hate": 0, "SelfHarm": 0, "Sexual": 0, "Violence": 0} | severities
    analysis = [{"category": name, "severity": level} for name, level in named.items()]
    return json.dumps({"blocklistsMatch": [], "categoriesAnalysis": analysis}).encode()


@dataclass
class ScriptedJudge:
    """Gives the next of its outcomes; None never answers."""

    outcomes: list[Mapping[str, float] | JudgeFailure | None]
    name: str = "scripted"
    categories: frozenset[str] = frozenset({"violence"})
    asked: list[tuple[str, Role]] = field(default_factory=list)
    cancelled: int = 0

    async def scores(self, text: str, role: Role, /) -> Mapping[str, float] | JudgeFailure:
        self.asked.append((text, role))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if outcome is not None:
            return outcome
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled += 1
            raise
