"""What two hosts say to each other while one fetches a model's file from the other.

One frame each, as in a session, but on a stream of its own; only the host that fetches
asks, and every question is answered in order. Every question names the file, so that an
introduction that has run out ends a fetch at the next piece.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.errors import DecodingError
from peerllm.overlay.errors import FrameError
from peerllm.overlay.messages import Digest
from peerllm.overlay.model_pieces import HASH_BYTES, MAXIMUM_PIECES, PIECE_BYTES

MODEL_PROTOCOL: Final = "/peerllm/model/1"
# A digest, a number and the names of both.
MAXIMUM_QUESTION_BYTES: Final = 256
# The longest list, and what stands around it.
MAXIMUM_ANSWER_BYTES: Final = MAXIMUM_PIECES * HASH_BYTES + 256

PieceIndex = Annotated[int, Meta(ge=0, lt=MAXIMUM_PIECES)]
DenialReason = Literal["not_introduced", "not_here", "busy"]


class AskList(msgspec.Struct, frozen=True, kw_only=True, tag="ask_list"):
    """What are the pieces of this file?"""

    digest: Digest


class AskPiece(msgspec.Struct, frozen=True, kw_only=True, tag="ask_piece"):
    """Send one piece of this file."""

    digest: Digest
    index: PieceIndex


class ListAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="list"):
    """The SHA-256 of every piece, one after the other."""

    hashes: Annotated[bytes, Meta(max_length=MAXIMUM_PIECES * HASH_BYTES)]


class PieceAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="piece"):
    """One piece."""

    index: PieceIndex
    data: Annotated[bytes, Meta(max_length=PIECE_BYTES)]


class Denied(msgspec.Struct, frozen=True, kw_only=True, tag="denied"):
    """No; the stream ends."""

    reason: DenialReason


Question = AskList | AskPiece
Answer = ListAnswer | PieceAnswer | Denied


def to_body(message: Question | Answer) -> bytes:
    """Encode one message as the body of a frame."""
    return encode(message)


def question(raw: bytes) -> Question:
    """Parse what a host that fetches sent. Raises `FrameError`."""
    try:
        asked: Question = decode(raw, Question, maximum_bytes=MAXIMUM_QUESTION_BYTES)
    except DecodingError:
        raise FrameError("malformed", "not a question about a model's file") from None
    return asked


def answer(raw: bytes) -> Answer:
    """Parse what a holder sent. Raises `FrameError`."""
    try:
        given: Answer = decode(raw, Answer, maximum_bytes=MAXIMUM_ANSWER_BYTES)
    except DecodingError:
        raise FrameError("malformed", "not an answer about a model's file") from None
    return given
