import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.overlay.errors import FrameError
from peerllm.overlay.framing import FrameDecoder, to_frame


def drain(frames: FrameDecoder) -> list[bytes]:
    bodies = []
    while (body := frames.pop()) is not None:
        bodies.append(body)
    return bodies


@given(st.lists(st.binary(max_size=64)), st.data())
def test_any_split_of_the_stream_gives_the_same_frames(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(to_frame, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames = FrameDecoder(maximum_bytes=64)
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames.push(stream[start:end])
        received += drain(frames)
    assert received == bodies
    assert frames.is_empty


@given(st.binary(max_size=256), st.integers(0, 256))
def test_garbage_gives_frames_or_a_fault_wherever_it_is_cut(raw: bytes, cut: int) -> None:
    outcomes = []
    for pieces in ([raw], [raw[:cut], raw[cut:]]):
        frames = FrameDecoder(maximum_bytes=32)
        bodies: list[bytes] = []
        fault = ""
        for piece in pieces:
            frames.push(piece)
            try:
                while (body := frames.pop()) is not None:
                    bodies.append(body)
            except FrameError as error:
                fault = error.reason
        outcomes.append((bodies, fault))
    assert outcomes[0] == outcomes[1]


def test_a_frame_cut_short_is_not_empty() -> None:
    frames = FrameDecoder(maximum_bytes=64)
    frames.push(to_frame(b"whole") + to_frame(b"cut")[:-1])
    assert drain(frames) == [b"whole"]
    assert not frames.is_empty


def test_too_long_a_frame_is_refused_by_its_length_alone() -> None:
    frames = FrameDecoder(maximum_bytes=64)
    frames.push(to_frame(b"fine") + to_frame(bytes(65))[:4])
    assert frames.pop() == b"fine"
    with pytest.raises(FrameError) as caught:
        frames.pop()
    assert caught.value.reason == "too_large"
