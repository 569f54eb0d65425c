"""The body of `POST /v1/chat/completions`, parsed once into a bounded, typed request.

Fields that OpenAI's API knows and this network cannot honour are refused by name rather than
ignored: a customer who asks for tools and gets prose has been answered wrongly.
"""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from peerllm.coordinator.api_errors import ApiError, invalid_request
from peerllm.coordinator.planner import Split, Turn

# A chat of 256 turns in one megabyte is far beyond every model served; it bounds the work of
# judging before the first token is counted.
MAXIMUM_TURNS = 256
MAXIMUM_BODY_BYTES = 1024 * 1024
MAXIMUM_STOPS = 4


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    """A text part of a message in OpenAI's list form."""

    type: Literal["text"]
    text: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message as OpenAI's clients send it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: Annotated[str, Meta(max_length=64)] | None = None


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a streamed answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Only plain text is served."""

    type: Literal["text"]


class Extension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PeerLLM's own field `peerllm`: `split` forces or forbids cutting the work into chunks."""

    split: Split = "auto"


class ChatBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything accepted in the body. `user` and `safety_identifier` are read by nobody."""

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAXIMUM_TURNS)]
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    stop: (
        Annotated[str, Meta(min_length=1, max_length=256)]
        | Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=256)]],
            Meta(max_length=MAXIMUM_STOPS),
        ]
        | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=1)] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None
    store: Literal[False] | None = None
    response_format: ResponseFormat | None = None
    frequency_penalty: Annotated[float, Meta(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Meta(ge=0, le=0)] | None = None
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
    stream: bool
    include_usage: bool
    split: Split

    def __repr__(self) -> str:
        return f"ChatRequest(model={self.model!r}, turns={len(self.turns)})"


_decoder = msgspec.json.Decoder(ChatBody)
# Only what looks like a parameter's name is repeated.
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(\w{1,64})`\Z", re.ASCII)


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
        split=(body.peerllm or Extension()).split,
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
    what, _, where = reason.partition(" - at `$")
    unknown = _UNKNOWN_FIELD.match(what)
    if unknown is not None:
        name = unknown[1]
        return invalid_request(
            f"The field '{name}' is not supported by this network.",
            param=name,
            code="unsupported_parameter",
        )
    # Here msgspec quotes what was sent; a message must never repeat it.
    if what.startswith("Invalid enum value"):
        what = "The value is not one of those allowed"
    elif what.startswith("Object contains unknown field"):
        what = "There is a field that this network does not know"
    param = where.rstrip("`").lstrip(".") or None
    if param is None and _is_not_object(raw):
        what = "The body must be a JSON object"
    return invalid_request(f"{what}." if param is None else f"{what} in '{param}'.", param=param)


def _is_not_object(raw: bytes) -> bool:
    return raw.lstrip()[:1] != b"{"
