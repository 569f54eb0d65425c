"""What a coordinator tells whoever would host: its models, and the asker's own place in line.

On a stream of its own, one question and one answer, so that a computer that holds no seat yet can
ask as well. Of waiting hosts each is told its own places only. All of it is the coordinator's word;
names, digests, classes, contexts and licences can be compared with the signed catalogue.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.errors import DecodingError
from peerllm.overlay.account_messages import Count, Date, Line, Word
from peerllm.overlay.errors import FrameError
from peerllm.overlay.messages import Digest, Name
from peerllm.overlay.model_pieces import MAXIMUM_MODEL_BYTES

CATALOGUE_PROTOCOL: Final = "/peerllm/catalogue/1"
# The longest question names a region.
MAXIMUM_QUESTION_BYTES: Final = 512
# Far more models and regions than a charter names today, at some 300 bytes each.
MAXIMUM_MODELS: Final = 256
MAXIMUM_REGIONS: Final = 64
MAXIMUM_PLACES: Final = 64
# All of them with the longest texts are 140 KB.
MAXIMUM_ANSWER_BYTES: Final = 256 * 1024


class CatalogueAsked(msgspec.Struct, frozen=True, kw_only=True, tag="catalogue_asked"):
    """What models are there, and where do I stand?"""


class OfferTaken(msgspec.Struct, frozen=True, kw_only=True, tag="offer_taken"):
    """I take the seats that I am offered in this region."""

    region: Word


class LineLeft(msgspec.Struct, frozen=True, kw_only=True, tag="line_left"):
    """Take me out of line in this region; an offer goes to the next."""

    region: Word


CatalogueQuestion = CatalogueAsked | OfferTaken | LineLeft


class ModelTold(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the network's catalogue, named by the SHA-256 of its file.

    `file_bytes` and `cache_bytes_per_token` (keys and values of one token) are read from the
    coordinator's own copy; 0 where it has none and serves the model to nobody. `free_seats` are
    those of all regions that nobody holds or has been offered; `waiting` hosts are in line.
    """

    name: Name
    digest: Digest
    model_class: Line
    context_tokens: Count
    license: Line
    embedded: bool
    file_bytes: Annotated[int, Meta(ge=0, le=MAXIMUM_MODEL_BYTES)]
    cache_bytes_per_token: Count
    free_seats: Count
    waiting: Count


class RegionOfHosts(msgspec.Struct, frozen=True, kw_only=True):
    """A region with a public record, and how its operators are reached."""

    name: Word
    contact: Line
    takes_hosts: bool


class PlaceInLine(msgspec.Struct, frozen=True, kw_only=True):
    """The asker's place for one model, from 1; `offered_until_us` is 0 while it only waits."""

    region: Word
    digest: Digest
    place: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    since_us: Date
    offered_until_us: Date


class SeatHeld(msgspec.Struct, frozen=True, kw_only=True):
    """The asker's seat: where, and for which models."""

    region: Word
    digests: Annotated[list[Digest], Meta(max_length=MAXIMUM_MODELS)]


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, tag="catalogue"):
    """The network's models as of `as_of_us`; `version` is that of the signed catalogue."""

    as_of_us: Date
    network: Word
    version: Count
    models: Annotated[list[ModelTold], Meta(max_length=MAXIMUM_MODELS)]
    regions: Annotated[list[RegionOfHosts], Meta(max_length=MAXIMUM_REGIONS)]
    seat: SeatHeld | None
    places: Annotated[list[PlaceInLine], Meta(max_length=MAXIMUM_PLACES)]


class CatalogueNotTold(msgspec.Struct, frozen=True, kw_only=True, tag="catalogue_not_told"):
    """The other answer: what was asked was not done.

    lapsed: the offer has run out; elsewhere: the asker holds a seat in another region; suspended:
    the region takes no hosts.
    """

    reason: Literal["too_often", "unavailable", "no_offer", "lapsed", "elsewhere", "suspended"]


CatalogueAnswer = Catalogue | CatalogueNotTold


def to_body(message: CatalogueQuestion | CatalogueAnswer) -> bytes:
    """Encode one message as the body of a frame."""
    return encode(message)


def catalogue_question(raw: bytes) -> CatalogueQuestion:
    """Parse what whoever would host sent. Raises `FrameError`, which never quotes the data."""
    try:
        asked: CatalogueQuestion = decode(
            raw, CatalogueQuestion, maximum_bytes=MAXIMUM_QUESTION_BYTES
        )
    except DecodingError:
        raise FrameError("malformed", "not a question about the catalogue") from None
    return asked


def catalogue_answer(raw: bytes) -> CatalogueAnswer:
    """Parse what a coordinator sent. Raises `FrameError`, which never quotes the data."""
    try:
        told: CatalogueAnswer = decode(raw, CatalogueAnswer, maximum_bytes=MAXIMUM_ANSWER_BYTES)
    except DecodingError:
        raise FrameError("malformed", "not an answer about the catalogue") from None
    return told
