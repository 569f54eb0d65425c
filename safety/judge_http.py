"""One JSON question over HTTP to a judge that runs elsewhere; bounded, and without exceptions.

What was sent and what came back stay out of every failure, log line and repr.
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

import httpx
import msgspec

from peerllm.safety.stronger_judges import FailureKind, JudgeFailure

# A moderation result is 2 kB, llama.cpp's with 16 tokens of 20 candidates under 40 and an echo of
# the prompt.
MAXIMUM_REPLY_BYTES: Final = 512 * 1024
_CONNECTIONS: Final = httpx.Limits(max_connections=32, max_keepalive_connections=8)


@dataclass(frozen=True)
class Secret:
    """A key that no repr shows."""

    value: str = field(repr=False)


Reply = TypeVar("Reply", bound=msgspec.Struct)


class JudgeEndpoint:
    """One server, with its connections; close it. Time is bounded by whoever asks.

    Proxies, certificates and passwords are never taken from the environment, redirects are not
    followed: text goes to the address that the operator wrote down and nowhere else.
    """

    def __init__(
        self,
        url: str,
        *,
        secret_headers: Mapping[str, Secret] | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        headers = {name: secret.value for name, secret in (secret_headers or {}).items()}
        # Compressed replies could be a thousand times as large as they come.
        headers |= {"content-type": "application/json", "accept-encoding": "identity"}
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=True if certificates is None else certificates,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - the caller's deadline is over all phases together
            limits=_CONNECTIONS,
        )

    def __repr__(self) -> str:
        return "<JudgeEndpoint>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: bytes) -> bytes | JudgeFailure:
        """The body of a 200 answer."""
        try:
            async with self._client.stream("POST", self._url + path, content=body) as response:
                if response.status_code != 200:
                    return failure_of(response.status_code, response.headers.get("retry-after"))
                if "content-encoding" in response.headers:
                    return JudgeFailure(kind="malformed")
                return await _bounded(response)
        except httpx.ProtocolError:
            return JudgeFailure(kind="malformed")
        # Messages of these may quote headers; only the kind goes on. A name that cannot be looked
        # up raises the last.
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError):
            return JudgeFailure(kind="unreachable")


async def _bounded(response: httpx.Response) -> bytes | JudgeFailure:
    received = bytearray()
    async for piece in response.aiter_raw():
        received += piece
        if len(received) > MAXIMUM_REPLY_BYTES:
            return JudgeFailure(kind="malformed")
    return bytes(received)


def failure_of(status: int, retry_after: str | None) -> JudgeFailure:
    """What a status other than 200 means; `retry_after` is the header's text."""
    if status in {429, 503}:
        seconds = retry_after or ""
        waits = float(seconds[:9]) if seconds.isascii() and seconds.isdigit() else None
        return JudgeFailure(kind="busy", retry_after_seconds=waits)
    kind: FailureKind = "server_error" if status >= 500 else "refused"
    return JudgeFailure(kind=kind)


def parsed(raw: bytes, shape: type[Reply]) -> Reply | JudgeFailure:
    """A reply as JSON of this shape; fields that it does not name are ignored."""
    try:
        return msgspec.json.decode(raw, type=shape)
    # The last one: fields that are ignored may be nested as deeply as a reply is long.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return JudgeFailure(kind="malformed")


def encoded(question: object) -> bytes:
    """A question as JSON; lone surrogates, which UTF-8 cannot carry, go as question marks."""
    return json.dumps(question, ensure_ascii=False).encode("utf-8", "replace")
