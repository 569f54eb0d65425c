"""What the daemon and its engine process say to each other over the engine's pipes.

Every message is one MessagePack map behind its length (u32, big endian). Both ends are
this project and of one version; the bounds hold because a damaged engine may write
anything. Messages that carry content hide it in their repr.
"""

from typing import Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import Meta

from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.errors import DecodingError
from peerllm.overlay.answer_shape import AnswerShape
from peerllm.overlay.messages import LogitBias
from peerllm.peer.errors import LoadFault, PeerError, TaskFault
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.limits import LARGEST_CAP_BYTES

# A task is at most 1 MiB of text (an envelope's plaintext); twice that leaves room for
# the rest and is still small enough to buffer.
MAXIMUM_MESSAGE_BYTES: Final = 2 * 1024 * 1024
_LENGTH_BYTES: Final = 4
# A list of a message holds 8192 items (peerllm.crypto.encoding), one of them the answer's end.
MAXIMUM_SCORED_TOKENS: Final = 8191

TaskNumber = Annotated[int, Meta(ge=0, le=2**53)]


class EngineProtocolError(PeerError):
    """Bytes on an engine pipe are not a message; the process must be ended."""


class _Confidential(msgspec.Struct, frozen=True, kw_only=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(<hidden>)"

    # rich prefers this, and msgspec's own would show every field.
    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class TaskTurn(_Confidential, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class GenerationTask(_Confidential, frozen=True, kw_only=True):
    """What to generate. The answer continues `assistant_prefix` without repeating it.

    Numbers of sampling in thousandths, see `peerllm.peer.sampling`; temperature 0 is greedy.
    """

    turns: list[TaskTurn]
    assistant_prefix: str = ""
    max_tokens: Annotated[int, Meta(ge=1)]
    temperature_milli: Annotated[int, Meta(ge=0)] = 0
    top_p_milli: Annotated[int, Meta(ge=0, le=1000)] = 1000
    min_p_milli: Annotated[int, Meta(ge=0, le=1000)] = 0
    # OpenAI's bounds for both.
    frequency_penalty_milli: Annotated[int, Meta(ge=-2000, le=2000)] = 0
    presence_penalty_milli: Annotated[int, Meta(ge=-2000, le=2000)] = 0
    repetition_penalty_milli: Annotated[int, Meta(ge=100, le=10_000)] = 1000
    logit_bias: Annotated[list[LogitBias], Meta(max_length=1024)] = []
    seed: Annotated[int, Meta(ge=0)] = 0
    stop: list[str] = []
    # The form of the answer, as JSON. An engine must only be given one that was tried before.
    answer_shape: AnswerShape | None = None


# From the daemon to the engine.


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """The first message: load this model, and only if its digest is the one given."""

    path: str
    digest: Annotated[bytes, Meta(min_length=32, max_length=32)]
    digest_cache: str
    slots: Annotated[int, Meta(ge=1, le=256)]
    context_tokens: Annotated[int, Meta(ge=1, le=16_777_216)]
    threads: Annotated[int, Meta(ge=1, le=1024)]
    # What the owner lets a host take; 0 is whatever is free.
    memory_cap_bytes: Annotated[int, Meta(ge=0, le=LARGEST_CAP_BYTES)] = 0
    # Only to an engine for legacy files.
    legacy: LegacyFormat | None = None


class Tune(msgspec.Struct, frozen=True, kw_only=True, tag="tune"):
    """Go on with so many threads, at this nice level. Running answers are not disturbed."""

    threads: Annotated[int, Meta(ge=1, le=1024)]
    nice: Annotated[int, Meta(ge=0, le=19)]


class Submit(_Confidential, frozen=True, kw_only=True, tag="submit"):
    """Generate. Answered by `Started` or `Refused`, then `Tokens`, then `Finished`."""

    number: TaskNumber
    task: GenerationTask


class ScoreTask(_Confidential, frozen=True, kw_only=True):
    """A claimed answer to check: `task` is what its host was given, `tokens` its answer.

    `ended` claims that the model itself ended the answer there.
    """

    task: GenerationTask
    tokens: Annotated[list[int], Meta(min_length=1, max_length=MAXIMUM_SCORED_TOKENS)]
    ended: bool = False


class Score(_Confidential, frozen=True, kw_only=True, tag="score"):
    """Check a claimed answer. Answered by `Started` and `Scored`, or by `Refused`."""

    number: TaskNumber
    task: ScoreTask


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Stop generating; nothing more is said about this task. Unknown tasks are ignored."""

    number: TaskNumber


# From the engine to the daemon.


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How much of the weights has been read."""

    percent: int


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The model is loaded and has generated a few tokens to measure its speed."""

    slots: int
    context_tokens: int
    tokens_per_second_milli: int


class LoadFailed(msgspec.Struct, frozen=True, kw_only=True, tag="load_failed"):
    """The model cannot be served; the sentence is for the operator. The engine ends."""

    reason: LoadFault
    sentence: str


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The prompt has this many tokens and fits."""

    number: TaskNumber
    prompt_tokens: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The task cannot be given to this model; the sentence holds numbers at most."""

    number: TaskNumber
    reason: TaskFault
    sentence: str


class Tokens(_Confidential, frozen=True, kw_only=True, tag="tokens"):
    """Tokens of an answer, with the text that may now be released."""

    number: TaskNumber
    tokens: list[int]
    text: str


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The answer is complete; nothing more follows for this task."""

    number: TaskNumber
    finish: Literal["stop", "length"]


class Scored(msgspec.Struct, frozen=True, kw_only=True, tag="scored"):
    """Per token of a claimed answer: would this model have drawn it, and by how much not."""

    number: TaskNumber
    would_draw: list[bool]
    margins: list[float]


class Tuned(msgspec.Struct, frozen=True, kw_only=True, tag="tuned"):
    """What is in force now. A nice level can be raised by anyone, but not lowered."""

    threads: int
    nice: int


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag="alive"):
    """Work goes on though there is no token to show, as in a long prompt."""


class Crashed(msgspec.Struct, frozen=True, kw_only=True, tag="crashed"):
    """The engine is about to end: the kind of exception and the line, never its message."""

    where: str


ToEngine = Load | Tune | Submit | Score | Cancel
FromEngine = (
    Progress
    | Ready
    | LoadFailed
    | Started
    | Refused
    | Tokens
    | Finished
    | Scored
    | Tuned
    | Alive
    | Crashed
)


def frame(message: ToEngine | FromEngine) -> bytes:
    """One message as it goes into a pipe."""
    body = encode(message)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class FrameReader:
    """Cuts what comes out of a pipe into message bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, raw: bytes) -> list[bytes]:
        """Take bytes, give the bodies now complete. Raises `EngineProtocolError`."""
        self._buffer += raw
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH_BYTES:
            body = start + _LENGTH_BYTES
            length = int.from_bytes(self._buffer[start:body], "big")
            if length > MAXIMUM_MESSAGE_BYTES:
                raise EngineProtocolError(
                    f"an engine message of {length} bytes, at most "
                    f"{MAXIMUM_MESSAGE_BYTES} are allowed"
                )
            if len(self._buffer) < body + length:
                break
            bodies.append(bytes(self._buffer[body : body + length]))
            start = body + length
        del self._buffer[:start]
        return bodies


def to_engine(body: bytes) -> ToEngine:
    """Parse a message for the engine. Raises `EngineProtocolError`, which never quotes it."""
    try:
        return cast("ToEngine", decode(body, ToEngine, maximum_bytes=MAXIMUM_MESSAGE_BYTES))
    except DecodingError as error:
        raise EngineProtocolError(f"not a message for an engine: {error}") from None


def from_engine(body: bytes) -> FromEngine:
    """Parse a message from the engine. Raises `EngineProtocolError`, which never quotes it."""
    try:
        return cast("FromEngine", decode(body, FromEngine, maximum_bytes=MAXIMUM_MESSAGE_BYTES))
    except DecodingError as error:
        raise EngineProtocolError(f"not a message of an engine: {error}") from None
