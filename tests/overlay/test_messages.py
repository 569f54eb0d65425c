import contextlib
import io

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from peerllm.crypto.encoding import decode, encode
from peerllm.overlay import messages
from peerllm.overlay.errors import FrameError
from peerllm.overlay.messages import (
    Accepted,
    Cancel,
    ChatMessage,
    ChunkTask,
    Dispatch,
    Failed,
    FindModel,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Hello,
    Introduce,
    ModelHolder,
    ModelHolders,
    ModelNotFound,
    ModelOffer,
    ModelSharing,
    Piece,
    ReceiptMessage,
    Refused,
    ReplyPiece,
    Slots,
    Welcome,
    coordinator_message,
    host_message,
    to_bytes,
)

SECRET = "my doctor said"
ID = bytes(range(16))
DIGEST = bytes(range(32))
HELLO = Hello(
    protocol_version=messages.PROTOCOL_VERSION,
    software="peerllm 0.1.0",
    sealing_certificate=b"certificate",
    models=[
        ModelOffer(
            digest=DIGEST,
            name="smollm2-135m",
            context_tokens=8192,
            slots=2,
            tokens_per_second_milli=80_000,
        )
    ],
)
DISPATCH = Dispatch(
    dispatch_id=ID,
    model_digest=DIGEST,
    expires_at_us=1_800_000_000_000_000,
    seed=7,
    nonce=ID,
    deadline_us=60_000_000,
    envelope=SECRET.encode(),
)
PIECE = Piece(dispatch_id=ID, sealed=SECRET.encode(), final=True)
TASK = ChunkTask(
    messages=[ChatMessage(role="user", content=SECRET)],
    max_tokens=16,
    temperature_milli=700,
    top_p_milli=1000,
    stop=["\n\n"],
    assistant_prefix=SECRET,
    reply_key=DIGEST,
)
REPLY = ReplyPiece(tokens=[1, 2], text=SECRET, finish="")
HOLDERS = ModelHolders(
    wanted="smollm2-135m",
    name="smollm2-135m",
    digest=DIGEST,
    file_bytes=98_362_432,
    list_digest=DIGEST,
    holders=[ModelHolder(peer_id="12D3KooWHost", address="/ip4/192.0.2.7/tcp/4001")],
)

EITHER_WAY = [Heartbeat(sequence=1), HeartbeatReply(sequence=1), Goodbye(reason="draining")]
FROM_HOST = [
    HELLO,
    Accepted(dispatch_id=ID),
    PIECE,
    Failed(dispatch_id=ID, reason="overloaded"),
    ReceiptMessage(dispatch_id=ID, receipt=b"signed"),
    Slots(digest=DIGEST, free=1),
    FindModel(wanted="smollm2-135m"),
    msgspec.structs.replace(HELLO, sharing=ModelSharing(port=4001, digests=[DIGEST])),
    *EITHER_WAY,
]
FROM_COORDINATOR = [
    Welcome(coordinator="12D3KooWCoord", heartbeat_seconds=10),
    DISPATCH,
    Cancel(dispatch_id=ID),
    Refused(reason="no seat"),
    HOLDERS,
    ModelNotFound(wanted="mystery", reason="unknown_model"),
    Introduce(peer_id="12D3KooWHost", digest=DIGEST, valid_us=900_000_000),
    *EITHER_WAY,
]


@pytest.mark.parametrize("message", FROM_HOST, ids=lambda m: type(m).__name__)
def test_host_message_survives_the_wire(message: messages.HostMessage) -> None:
    assert host_message(to_bytes(message)) == message


@pytest.mark.parametrize("message", FROM_COORDINATOR, ids=lambda m: type(m).__name__)
def test_coordinator_message_survives_the_wire(message: messages.CoordinatorMessage) -> None:
    assert coordinator_message(to_bytes(message)) == message


@pytest.mark.parametrize("sealed", [TASK, REPLY], ids=lambda m: type(m).__name__)
def test_sealed_payload_survives_the_wire(sealed: ChunkTask | ReplyPiece) -> None:
    assert decode(encode(sealed), type(sealed), maximum_bytes=4096) == sealed


def test_a_task_without_the_later_fields_is_a_plain_one() -> None:
    plain = msgspec.to_builtins(TASK, builtin_types=(bytes,))
    for name in ("min_p_milli", "frequency_penalty_milli", "presence_penalty_milli"):
        del plain[name]
    for name in ("repetition_penalty_milli", "logit_bias", "answer_shape"):
        del plain[name]
    assert decode(msgpack.packb(plain), ChunkTask, maximum_bytes=4096) == TASK


def test_each_direction_refuses_the_other() -> None:
    with pytest.raises(FrameError):
        coordinator_message(to_bytes(HELLO))
    with pytest.raises(FrameError):
        host_message(to_bytes(DISPATCH))


def test_unknown_fields_are_ignored() -> None:
    fields = msgpack.unpackb(to_bytes(PIECE)) | {"added_later": [1, {"a": 2}]}
    assert host_message(msgpack.packb(fields)) == PIECE


def test_unknown_tag_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        host_message(msgpack.packb({"type": "shutdown", "dispatch_id": ID}))
    assert caught.value.reason == "malformed"


def test_other_protocol_version_is_refused_as_such() -> None:
    other = msgspec.structs.replace(HELLO, protocol_version=messages.PROTOCOL_VERSION + 1)
    with pytest.raises(FrameError) as caught:
        host_message(to_bytes(other))
    assert caught.value.reason == "unsupported_version"


@pytest.mark.parametrize(
    "message",
    [
        Accepted(dispatch_id=ID[:-1]),
        Piece(dispatch_id=ID, sealed=bytes(messages.MAXIMUM_PIECE_BYTES + 1), final=False),
        Slots(digest=DIGEST, free=-1),
        Goodbye(reason="two\nlines"),
        Goodbye(reason="trailing newline\n"),
        Goodbye(reason="\x1b[2J"),
        Goodbye(reason="x" * 201),
        msgspec.structs.replace(HELLO, models=HELLO.models * 65),
    ],
    ids=["id", "piece", "slots", "lines", "newline", "escape", "long", "models"],
)
def test_values_out_of_bounds_are_refused(message: messages.HostMessage) -> None:
    with pytest.raises(FrameError):
        host_message(to_bytes(message))


@pytest.mark.parametrize(
    "address",
    ["/dns4/intranet/tcp/80", "/ip4/192.0.2.7/udp/4001", "/ip4/192.0.2.7/tcp/1/p2p/x", "x" * 81],
)
def test_holders_are_named_by_number_only(address: str) -> None:
    holder = ModelHolder(peer_id="12D3KooWHost", address=address)
    with pytest.raises(FrameError):
        coordinator_message(to_bytes(msgspec.structs.replace(HOLDERS, holders=[holder])))


def test_a_host_of_before_sharing_is_understood() -> None:
    fields = msgpack.unpackb(to_bytes(HELLO))
    del fields["sharing"]
    assert host_message(msgpack.packb(fields)) == HELLO


def test_a_fault_never_quotes_what_was_sent() -> None:
    wrong = msgpack.packb({"type": "failed", "dispatch_id": ID, "reason": SECRET})
    with pytest.raises(FrameError) as caught:
        host_message(wrong)
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__


@given(st.binary(max_size=512))
def test_arbitrary_bytes_give_a_message_or_a_frame_error(raw: bytes) -> None:
    for parse in (host_message, coordinator_message):
        with contextlib.suppress(FrameError):  # anything else escapes and fails the test
            assert isinstance(parse(raw), msgspec.Struct)


@given(st.data())
def test_a_damaged_message_gives_a_message_or_a_frame_error(data: st.DataObject) -> None:
    raw = bytearray(to_bytes(data.draw(st.sampled_from(FROM_HOST))))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    with contextlib.suppress(FrameError):  # anything else escapes and fails the test
        assert isinstance(host_message(bytes(raw[:cut])), msgspec.Struct)


@pytest.mark.parametrize(
    "value", [DISPATCH, PIECE, TASK, TASK.messages[0], REPLY], ids=lambda v: type(v).__name__
)
def test_printing_a_value_with_content_does_not_show_it(value: object) -> None:
    shown = io.StringIO()
    Console(file=shown).print(value)
    for text in (repr(value), str(value), f"{[value]}", shown.getvalue()):
        assert SECRET not in text
