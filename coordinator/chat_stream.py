"""Writing an answer as OpenAI's clients read it: one JSON object, or server-sent events."""

import time
from typing import Any

import msgspec
from starlette.types import Send

from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.chat_schema import ChatRequest
from peerllm.coordinator.request import Answered

_json = msgspec.json.Encoder()


class AnswerStream:
    """One answer's way out.

    Plain: nothing is written before the answer is whole, and all but the end of the response before
    it is charged. Streamed: the head is written with the first piece, so that a refusal before it
    still gets its own HTTP status.
    """

    def __init__(self, send: Send, chat: ChatRequest, request_id: str) -> None:
        self._send = send
        self._chat = chat
        self._id = request_id
        self._created = int(time.time())
        self._pieces: list[str] = []
        self._begun = False
        self._streaming = False

    async def release(self, text: str) -> None:
        """One piece that the customer may see."""
        if not self._chat.stream:
            self._pieces.append(text)
            return
        if not self._begun:
            await self._begin()
        await self._event(self._delta({"content": text}))

    async def deliver(self, answered: Answered) -> None:
        """The answer is whole: the connection gets what it has not got yet."""
        if not self._chat.stream:
            await self._whole(200, self._completion(answered))
        elif not self._begun:
            await self._begin()

    async def finish(self, answered: Answered) -> None:
        """The answer is delivered and settled."""
        if not self._chat.stream:
            await self._end()
            return
        await self._event(self._delta({}, finish=answered.finish.value))
        if self._chat.include_usage:
            usage = {"choices": [], "usage": _usage(answered)}
            await self._event(self._head("chat.completion.chunk") | usage)
        await self._end(b"data: [DONE]\n\n")

    async def fail(self, error: ApiError) -> None:
        """The answer was refused or could not be made; a stream that has begun ends with it.

        A plain answer that has been delivered stays as it is: its length has been announced.
        """
        self._pieces.clear()
        if not self._begun:
            await self._whole(error.status, error.body(), error.retry_after_seconds)
        if not self._streaming:
            await self._end()
            return
        await self._event(error.body())
        await self._end(b"data: [DONE]\n\n")

    async def _begin(self) -> None:
        self._streaming = True
        await self._start(
            200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        )
        await self._event(self._delta({"role": "assistant", "content": ""}))

    async def _end(self, last: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def _whole(self, status: int, body: object, retry_after: int | None = None) -> None:
        raw = _json.encode(body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(raw)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if retry_after is not None:
            headers.append((b"retry-after", str(retry_after).encode()))
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": raw, "more_body": True})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._begun = True
        headers.append((b"x-request-id", self._id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _event(self, body: object) -> None:
        raw = b"data: " + _json.encode(body) + b"\n\n"
        await self._send({"type": "http.response.body", "body": raw, "more_body": True})

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._chat.model,
        }

    def _delta(self, delta: dict[str, str], *, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def _completion(self, answered: Answered) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self._pieces), "refusal": None}
        finish = answered.finish.value
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion") | {"choices": [choice], "usage": _usage(answered)}


def _usage(answered: Answered) -> dict[str, int]:
    statement = answered.statement
    return {
        "prompt_tokens": statement.prompt_tokens,
        "completion_tokens": statement.completion_tokens,
        "total_tokens": statement.prompt_tokens + statement.completion_tokens,
    }
