"""What a host and a coordinator say to each other.

Every message is one frame: a MessagePack map with its tag under `type`. A field that a
receiver does not know is ignored, so that fields can be added; an unknown tag, a missing
field, a value out of bounds or another protocol version is refused. Every string and
list is bounded, because the sender may be hostile.

Naming of times: `*_at_us` is an instant in microseconds since the Unix epoch, any other
`*_us` is a duration in microseconds (two machines need not agree on the time of day to
agree on a duration).
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.errors import DecodingError
from peerllm.overlay.account_messages import (
    Account,
    AccountAsked,
    AccountNotTold,
    AppealMade,
)
from peerllm.overlay.answer_shape import AnswerShape
from peerllm.overlay.errors import FrameError
from peerllm.overlay.model_pieces import MAXIMUM_MODEL_BYTES

PROTOCOL_VERSION: Final = 1
SESSION_PROTOCOL: Final = "/peerllm/session/1"

# Twice the largest envelope (1 MiB of padded plaintext): room for every other field and
# for what sealing adds, and still small enough to buffer one per session.
MAXIMUM_FRAME_BYTES: Final = 2 * 1024 * 1024
MAXIMUM_ENVELOPE_BYTES: Final = 1024 * 1024 + 4096
# A piece is a few tokens; this is four thousand of them with their text.
MAXIMUM_PIECE_BYTES: Final = 128 * 1024
MAXIMUM_TASK_BYTES: Final = 1024 * 1024
# A stop sequence, as a customer sends it and with placeholders in it.
MAXIMUM_STOP_CHARACTERS: Final = 256
# A coordinator buffers at most one frame for each of two thousand hosts, and none of what
# a host sends comes near this.
MAXIMUM_HOST_FRAME_BYTES: Final = 256 * 1024

# Printable ASCII only: these strings reach logs and terminals. `\Z`, since `$` would
# let a trailing newline through.
_PRINTABLE = r"\A[ -~]*\Z"

Identifier = Annotated[bytes, Meta(min_length=16, max_length=16)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Instant = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Duration = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
PeerId = Annotated[str, Meta(pattern=r"\A[1-9A-HJ-NP-Za-km-z]{1,64}\Z")]
Reason = Annotated[str, Meta(max_length=200, pattern=_PRINTABLE)]
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=_PRINTABLE)]
SlotCount = Annotated[int, Meta(ge=0, le=4096)]
Token = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Bounded for real by the size of the envelope they arrive in.
Text = Annotated[str, Meta(max_length=MAXIMUM_TASK_BYTES)]
StopSequence = Annotated[str, Meta(min_length=1, max_length=MAXIMUM_STOP_CHARACTERS)]

# The overlay's own notation of a TCP endpoint, numbers only: nobody is made to look up a name.
Address = Annotated[
    str, Meta(max_length=80, pattern=r"\A/ip[46]/[0-9A-Fa-f:.]{2,45}/tcp/[0-9]{1,5}\Z")
]
FileBytes = Annotated[int, Meta(ge=1, le=MAXIMUM_MODEL_BYTES)]

FailureReason = Literal[
    "overloaded",
    "unknown_model",
    "refused_envelope",
    "context_exceeded",
    "engine_failed",
    "expired",
    "bad_task",
]


class _Confidential(msgspec.Struct, frozen=True, kw_only=True):
    """Carries content, in clear or sealed: its repr names the type and nothing else.

    rich, which prints this project's tracebacks, prefers `__rich_repr__`.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<hidden>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


# Between host and coordinator, either way.


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Are you there? Answered with the same sequence."""

    sequence: Sequence


class HeartbeatReply(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat_reply"):
    """The answer to a heartbeat."""

    sequence: Sequence


class Goodbye(msgspec.Struct, frozen=True, kw_only=True, tag="goodbye"):
    """The sender is about to close the session; nothing follows."""

    reason: Reason


# From host to coordinator.


class ModelOffer(msgspec.Struct, frozen=True, kw_only=True):
    """One model a host is ready to serve, named by the SHA-256 of its file."""

    digest: Digest
    name: Name
    context_tokens: Annotated[int, Meta(ge=1, le=16_777_216)]
    slots: SlotCount
    tokens_per_second_milli: Annotated[int, Meta(ge=0, le=1_000_000_000)]


class ModelSharing(msgspec.Struct, frozen=True, kw_only=True):
    """Model files that other hosts may fetch from a host, and the TCP port it listens on.

    Only the port: its address is where its session comes from, so that no host can have
    others dial a third party.
    """

    port: Annotated[int, Meta(ge=1, le=65535)]
    digests: Annotated[list[Digest], Meta(max_length=64)]


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """A host's first message: who seals for it, what it serves, and what it shares, if anything."""

    protocol_version: Annotated[int, Meta(ge=0, le=65535)]
    software: Name
    sealing_certificate: Annotated[bytes, Meta(max_length=4096)]
    models: Annotated[list[ModelOffer], Meta(max_length=64)]
    sharing: ModelSharing | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag="accepted"):
    """The envelope opened and work on the chunk has begun."""

    dispatch_id: Identifier


class Piece(_Confidential, frozen=True, kw_only=True, tag="piece"):
    """A sealed `ReplyPiece`."""

    dispatch_id: Identifier
    sealed: Annotated[bytes, Meta(max_length=MAXIMUM_PIECE_BYTES)]
    final: bool


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The chunk will not be completed; no further piece follows."""

    dispatch_id: Identifier
    reason: FailureReason


class ReceiptMessage(msgspec.Struct, frozen=True, kw_only=True, tag="receipt"):
    """The host's signed receipt for a chunk, byte for byte as signed."""

    dispatch_id: Identifier
    receipt: Annotated[bytes, Meta(max_length=4096)]


class Slots(msgspec.Struct, frozen=True, kw_only=True, tag="slots"):
    """How many more chunks of one model the host takes now. Replaces what it said before."""

    digest: Digest
    free: SlotCount


class FindModel(msgspec.Struct, frozen=True, kw_only=True, tag="find_model"):
    """Who has this model's file? By its name in the catalogue, or its digest in hexadecimal.

    Only to a coordinator whose welcome says `introduces`.
    """

    wanted: Name


# From coordinator to host.


class SeatPause(msgspec.Struct, frozen=True, kw_only=True):
    """Why a host gets no work for a while, what ends it sooner, and when it ends by itself."""

    reason: Name
    way_back: Reason
    # Up to the year 2100: a host shows it as a date.
    until_us: Annotated[int, Meta(ge=0, le=4_102_444_800_000_000)]


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """The host is admitted to this session.

    `introduces`: `FindModel` will be answered; `tells_accounts`: so will `AccountAsked`, and with
    `takes_appeals` `AppealMade`. Said again whenever a pause of the host's seat begins or ends.
    """

    coordinator: PeerId
    heartbeat_seconds: Annotated[int, Meta(ge=1, le=3600)]
    introduces: bool = False
    tells_accounts: bool = False
    takes_appeals: bool = False
    pause: SeatPause | None = None


class ModelHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A host from which a model's file can be fetched."""

    peer_id: PeerId
    address: Address


class ModelHolders(msgspec.Struct, frozen=True, kw_only=True, tag="model_holders"):
    """The answer to `FindModel`: the file, vouched for, and who has been told to expect you.

    `list_digest` is the SHA-256 of the list of its pieces (`model_pieces.PieceList`).
    """

    wanted: Name
    name: Name
    digest: Digest
    file_bytes: FileBytes
    list_digest: Digest
    holders: Annotated[list[ModelHolder], Meta(max_length=8)]


class ModelNotFound(msgspec.Struct, frozen=True, kw_only=True, tag="model_not_found"):
    """The other answer to `FindModel`."""

    wanted: Name
    reason: Literal["unknown_model", "too_often"]


class Introduce(msgspec.Struct, frozen=True, kw_only=True, tag="introduce"):
    """A host that may fetch a model's file from this one for so long. Only to hosts that share."""

    peer_id: PeerId
    digest: Digest
    valid_us: Duration


class Dispatch(_Confidential, frozen=True, kw_only=True, tag="dispatch"):
    """A sealed `ChunkTask`. The last piece is due `deadline_us` after this arrives."""

    dispatch_id: Identifier
    model_digest: Digest
    expires_at_us: Instant
    seed: Seed
    nonce: Identifier
    deadline_us: Duration
    envelope: Annotated[bytes, Meta(max_length=MAXIMUM_ENVELOPE_BYTES)]


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Stop work on a chunk. Unknown or finished chunks are not an error."""

    dispatch_id: Identifier


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The host is not admitted; the session closes."""

    reason: Reason


# Sealed inside `Dispatch.envelope` and `Piece.sealed`.


class ChatMessage(_Confidential, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class LogitBias(_Confidential, frozen=True, kw_only=True):
    """What to add to one token's logit, in thousandths."""

    token: Token
    bias_milli: Annotated[int, Meta(ge=-100_000, le=100_000)]


class ChunkTask(_Confidential, frozen=True, kw_only=True):
    """What a host is asked to generate.

    The answer continues `assistant_prefix`, which is not repeated in it. `reply_key`
    seals the pieces on their way back. Numbers of sampling in thousandths, see
    `peerllm.peer.sampling`; with an `answer_shape` the answer is JSON of that form.
    """

    messages: Annotated[list[ChatMessage], Meta(max_length=1024)]
    max_tokens: Annotated[int, Meta(ge=1, le=16_777_216)]
    temperature_milli: Annotated[int, Meta(ge=0, le=2000)]
    top_p_milli: Annotated[int, Meta(ge=0, le=1000)]
    stop: Annotated[list[StopSequence], Meta(max_length=16)]
    assistant_prefix: Text
    reply_key: Key
    min_p_milli: Annotated[int, Meta(ge=0, le=1000)] = 0
    # OpenAI's bounds for both.
    frequency_penalty_milli: Annotated[int, Meta(ge=-2000, le=2000)] = 0
    presence_penalty_milli: Annotated[int, Meta(ge=-2000, le=2000)] = 0
    repetition_penalty_milli: Annotated[int, Meta(ge=100, le=10_000)] = 1000
    logit_bias: Annotated[list[LogitBias], Meta(max_length=1024)] = []
    answer_shape: AnswerShape | None = None


class ReplyPiece(_Confidential, frozen=True, kw_only=True):
    """Some tokens of the answer and the text they add.

    `text` is whole characters with stop strings already removed. `finish` is empty on
    every piece but the last.
    """

    tokens: Annotated[list[Token], Meta(max_length=4096)]
    text: Annotated[str, Meta(max_length=16384)]
    finish: Literal["", "stop", "length"]


HostMessage = (
    Hello
    | Accepted
    | Piece
    | Failed
    | ReceiptMessage
    | Slots
    | FindModel
    | AccountAsked
    | AppealMade
    | Heartbeat
    | HeartbeatReply
    | Goodbye
)
CoordinatorMessage = (
    Welcome
    | Dispatch
    | Cancel
    | Refused
    | ModelHolders
    | ModelNotFound
    | Introduce
    | Account
    | AccountNotTold
    | Heartbeat
    | HeartbeatReply
    | Goodbye
)
Message = HostMessage | CoordinatorMessage


def to_bytes(message: Message) -> bytes:
    """Encode one message as the body of a frame."""
    return encode(message)


def host_message(raw: bytes) -> HostMessage:
    """Parse what a host sent. Raises `FrameError`, which never quotes the data."""
    try:
        message: HostMessage = decode(raw, HostMessage, maximum_bytes=MAXIMUM_HOST_FRAME_BYTES)
    except DecodingError:
        raise FrameError("malformed", "not a message a host may send") from None
    if isinstance(message, Hello) and message.protocol_version != PROTOCOL_VERSION:
        raise FrameError(
            "unsupported_version",
            f"the host speaks version {message.protocol_version}, "
            f"this node speaks {PROTOCOL_VERSION}",
        )
    return message


def coordinator_message(raw: bytes) -> CoordinatorMessage:
    """Parse what a coordinator sent. Raises `FrameError`, which never quotes the data."""
    try:
        message: CoordinatorMessage = decode(
            raw, CoordinatorMessage, maximum_bytes=MAXIMUM_FRAME_BYTES
        )
    except DecodingError:
        raise FrameError("malformed", "not a message a coordinator may send") from None
    return message
