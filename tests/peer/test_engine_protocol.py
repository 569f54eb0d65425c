import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.engine_protocol import (
    Cancel,
    EngineProtocolError,
    Finished,
    FrameReader,
    FromEngine,
    GenerationTask,
    Load,
    Score,
    ScoreTask,
    Started,
    Submit,
    TaskTurn,
    ToEngine,
    Tokens,
    frame,
    from_engine,
    to_engine,
)
from peerllm.peer.limits import LARGEST_CAP_BYTES

SUBMIT = Submit(
    number=7,
    task=GenerationTask(
        turns=[TaskTurn(role="user", content="SECRET")],
        assistant_prefix="SECRET",
        max_tokens=5,
        stop=["SECRET"],
    ),
)


def test_messages_survive_the_pipe_however_it_cuts_them() -> None:
    sent: list[ToEngine | FromEngine] = [SUBMIT, Cancel(number=7)]
    raw = b"".join(map(frame, sent))
    reader = FrameReader()
    received = [to_engine(body) for byte in raw for body in reader.feed(bytes([byte]))]
    assert received == sent


def test_both_directions_are_kept_apart() -> None:
    (body,) = FrameReader().feed(frame(Started(number=1, prompt_tokens=3)))
    assert from_engine(body) == Started(number=1, prompt_tokens=3)
    with pytest.raises(EngineProtocolError):
        to_engine(body)


@given(st.binary(max_size=64))
def test_garbage_is_refused_and_never_quoted(raw: bytes) -> None:
    for parse in (to_engine, from_engine):
        with pytest.raises(EngineProtocolError) as caught:
            parse(b"SECRET" + raw)
        assert "SECRET" not in str(caught.value)


def test_an_oversized_message_is_refused_before_it_is_buffered() -> None:
    with pytest.raises(EngineProtocolError, match="at most"):
        FrameReader().feed(b"\xff\xff\xff\xff")


@pytest.mark.parametrize(
    "value",
    [
        SUBMIT,
        SUBMIT.task,
        SUBMIT.task.turns[0],
        Tokens(number=1, tokens=[987654], text="SECRET"),
        Score(number=1, task=ScoreTask(task=SUBMIT.task, tokens=[987654])),
        ScoreTask(task=SUBMIT.task, tokens=[987654]),
    ],
)
def test_representations_hide_content(value: Submit) -> None:
    shown = repr(value) + repr(value.__rich_repr__())
    assert "SECRET" not in shown
    assert "987654" not in shown
    assert type(value).__name__ in shown


@pytest.mark.parametrize("beyond", [0, 1])
def test_the_largest_memory_cap_of_an_owner_reaches_the_engine(beyond: int) -> None:
    load = Load(
        path="m", digest=bytes(32), digest_cache="c", slots=1, context_tokens=1, threads=1,
        memory_cap_bytes=LARGEST_CAP_BYTES + beyond,
    )  # fmt: skip
    (body,) = FrameReader().feed(frame(load))
    if not beyond:
        assert to_engine(body) == load
        return
    with pytest.raises(EngineProtocolError):
        to_engine(body)


def test_a_finish_is_one_of_two_words() -> None:
    (body,) = FrameReader().feed(frame(Finished(number=1, finish="stop")))
    with pytest.raises(EngineProtocolError):
        from_engine(body.replace(b"stop", b"done"))
