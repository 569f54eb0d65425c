"""The body of `POST /v1/chat/completions`, parsed once into a bounded, typed request.

Fields that OpenAI's API knows and this network cannot honour are refused by name rather than
ignored: a customer who asks for tools and gets prose has been answered wrongly.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from peerllm.coordinator.api_errors import ApiError, invalid_request
from peerllm.coordinator.document_task import Turn
from peerllm.coordinator.planner import Split
from peerllm.coordinator.quotes import MAXIMUM_QUOTE_CHARACTERS
from peerllm.coordinator.response_format import ResponseFormat, shape_of
from peerllm.overlay.answer_shape import AnswerShape
from peerllm.overlay.messages import StopSequence
from peerllm.safety.own_terms import (
    KIND_PATTERN,
    MAXIMUM_KINDS,
    MAXIMUM_TERM_CHARACTERS,
    MAXIMUM_TERMS,
    NO_OWN_TERMS,
    OwnTerms,
    own_terms,
)

# A chat of 256 turns in one megabyte is far beyond every model served; it bounds the work of
# judging before the first token is counted.
MAXIMUM_TURNS = 256
MAXIMUM_BODY_BYTES = 1024 * 1024
MAXIMUM_STOPS = 4
# As many as OpenAI takes; 4 KB in an envelope.
MAXIMUM_BIASES = 300

TokenName = Annotated[str, Meta(pattern=r"\A(?:0|[1-9][0-9]{0,6})\Z")]
Bias = Annotated[float, Meta(ge=-100, le=100)]
TermKind = Annotated[str, Meta(pattern=KIND_PATTERN)]
Terms = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=MAXIMUM_TERM_CHARACTERS)]],
    Meta(max_length=MAXIMUM_TERMS),
]


Nothing = Annotated[list[Any], Meta(max_length=0)] | None


class TextPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text part of a message in OpenAI's list form."""

    type: Literal["text"]
    text: str


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message as OpenAI's clients send it.

    The fields after `name` are empty in every answer given here; clients send them back unchanged.
    """

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: Annotated[str, Meta(max_length=64)] | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None
    annotations: Nothing = None


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a streamed answer. Nothing hides the lengths of its pieces."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class Extension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PeerLLM's own field `peerllm`: what OpenAI's API has no name for.

    `split` forces or forbids cutting the work into chunks. `min_p` leaves out tokens that are
    less likely than this share of the likeliest; `repetition_penalty` divides the logits of
    tokens that the answer already holds (1 changes nothing).

    `always_mask` holds the customer's own terms by a kind of their own, whose name hosts see:
    `{"PROJECT": ["Blue Heron"]}` leaves as `PROJECT_1`. Terms of `never_mask` are not masked, but
    for what `peerllm.safety.own_terms` says is masked all the same.

    `quote` is a locked price from `POST /v1/peerllm/quotes`.
    """

    split: Split = "auto"
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Meta(ge=0.1, le=2)] = 1.0
    always_mask: Annotated[dict[TermKind, Terms], Meta(max_length=MAXIMUM_KINDS)] = {}
    never_mask: Terms = []
    quote: Annotated[str, Meta(max_length=MAXIMUM_QUOTE_CHARACTERS)] | None = None


class ChatBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything accepted in the body. `user` and `safety_identifier` are read by nobody."""

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAXIMUM_TURNS)]
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    stop: StopSequence | Annotated[list[StopSequence], Meta(max_length=MAXIMUM_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None
    store: Literal[False] | None = None
    response_format: ResponseFormat | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    # By token of the model asked, written as a decimal number.
    logit_bias: Annotated[dict[TokenName, Bias], Meta(max_length=MAXIMUM_BIASES)] | None = None
    logprobs: Literal[False] | None = None
    safety_identifier: Annotated[str, Meta(max_length=256)] | None = None
    peerllm: Extension | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer asks for, ready to be served."""

    model: str
    turns: tuple[Turn, ...]
    max_tokens: int | None
    temperature_milli: int
    top_p_milli: int
    stop: tuple[str, ...]
    seed: int | None
    frequency_penalty_milli: int = 0
    presence_penalty_milli: int = 0
    min_p_milli: int = 0
    repetition_penalty_milli: int = 1000
    logit_bias_milli: tuple[tuple[int, int], ...] = ()
    answer_shape: AnswerShape | None = None
    stream: bool
    include_usage: bool
    split: Split
    own_terms: OwnTerms = NO_OWN_TERMS
    quote: str | None = None

    def __repr__(self) -> str:
        return f"ChatRequest(model={self.model!r}, turns={len(self.turns)})"


_PLACE = re.compile(r" - at (?:`key` in )?`\$")
_decoder = msgspec.json.Decoder(ChatBody)
# Only what looks like a parameter's name is repeated.
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(\w{1,64})`\Z", re.ASCII)
# How msgspec says that a field which must be empty is not.
_NOT_EMPTY = re.compile(r"Expected `(?:null`|array \| null`|array` of length <= 0)")


def parse_chat(raw: bytes) -> ChatRequest | ApiError:
    """Parse a request's body; what is wrong comes back as OpenAI's error, naming the field."""
    try:
        body = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        return _validation_error(raw, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return invalid_request("The body is not valid JSON in UTF-8.", code="invalid_json")
    turns = tuple(_turn(message) for message in body.messages)
    if not any(turn.content.strip() for turn in turns):
        return invalid_request("Every message is empty; send at least one text.", param="messages")
    if not _is_text(body):
        return invalid_request(
            "A text holds a lone surrogate; send valid Unicode.", param="messages"
        )
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    options = body.stream_options or StreamOptions()
    extension = body.peerllm or Extension()
    shape = None if body.response_format is None else shape_of(body.response_format)
    if isinstance(shape, str):
        return invalid_request(shape, param="response_format", code="unsupported_schema")
    if shape is not None and extension.split == "always":
        return invalid_request(
            "An answer with a 'response_format' is made in one piece; leave 'split' at 'auto'.",
            param="peerllm.split",
        )
    terms = NO_OWN_TERMS
    if extension.always_mask or extension.never_mask:
        made = own_terms(extension.always_mask, extension.never_mask)
        if isinstance(made, str):
            return invalid_request(made, param="peerllm")
        terms = made
    return ChatRequest(
        model=body.model,
        turns=turns,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature_milli=round((1.0 if body.temperature is None else body.temperature) * 1000),
        top_p_milli=max(1, round((1.0 if body.top_p is None else body.top_p) * 1000)),
        stop=tuple(stop),
        seed=None if body.seed is None else body.seed & (2**63 - 1),
        stream=bool(body.stream),
        include_usage=options.include_usage,
        frequency_penalty_milli=round((body.frequency_penalty or 0) * 1000),
        presence_penalty_milli=round((body.presence_penalty or 0) * 1000),
        min_p_milli=round(extension.min_p * 1000),
        repetition_penalty_milli=round(extension.repetition_penalty * 1000),
        logit_bias_milli=tuple(
            (int(token), round(bias * 1000)) for token, bias in (body.logit_bias or {}).items()
        ),
        answer_shape=shape,
        # Parts of a JSON value are not JSON.
        split=extension.split if shape is None else "never",
        own_terms=terms,
        quote=extension.quote,
    )


def _turn(message: Message) -> Turn:
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return Turn(role="system" if message.role == "developer" else message.role, content=text)


def _is_text(body: ChatBody) -> bool:
    try:
        msgspec.json.encode(body)
    except UnicodeEncodeError:
        return False
    return True


def _validation_error(raw: bytes, reason: str) -> ApiError:
    what, *places = _PLACE.split(reason, maxsplit=1)
    where = "".join(places).rstrip("`").lstrip(".")
    unknown = _UNKNOWN_FIELD.match(what)
    if unknown is not None or _NOT_EMPTY.match(what):
        name = where if unknown is None else f"{where}.{unknown[1]}".lstrip(".")
        return invalid_request(
            f"The field '{name}' is not supported by this network; leave it out.",
            param=name,
            code="unsupported_parameter",
        )
    # Here msgspec quotes what was sent; a message must never repeat it.
    if what.startswith("Invalid enum value"):
        what = "The value is not one of those allowed"
    elif what.startswith("Expected `str` matching regex"):
        what = "A name is not of the form allowed"
    elif what.startswith("Object contains unknown field"):
        what = "There is a field that this network does not know"
    param = where or None
    if param is None and _is_not_object(raw):
        what = "The body must be a JSON object"
    return invalid_request(f"{what}." if param is None else f"{what} in '{param}'.", param=param)


def _is_not_object(raw: bytes) -> bool:
    return raw.lstrip()[:1] != b"{"
