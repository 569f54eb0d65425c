import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.crypto.envelope import EnvelopeBinding
from peerllm.crypto.errors import PlaintextTooLarge, ReplyForged
from peerllm.crypto.identity import Identity
from peerllm.crypto.reply import MAXIMUM_PIECE_BYTES, ReplyOpener, ReplySealer

KEY = b"k" * 32
BINDING = EnvelopeBinding(
    dispatch_id=b"d" * 16,
    host=Identity.from_seed(b"h" * 32).peer_id,
    model_digest=b"m" * 32,
    expires_at_us=1,
    seed=7,
)
pieces_of_text = st.lists(st.binary(max_size=200), min_size=1, max_size=6)


def _sealed(texts: list[bytes]) -> list[tuple[bytes, bool]]:
    sealer = ReplySealer(KEY, BINDING)
    last = len(texts) - 1
    flags = [number == last for number in range(len(texts))]
    return [
        (sealer.seal(text, final=final), final) for text, final in zip(texts, flags, strict=True)
    ]


@given(pieces_of_text)
def test_pieces_arrive_as_they_were_sealed(texts: list[bytes]) -> None:
    opener = ReplyOpener(KEY, BINDING)
    assert [opener.open(piece, final=final) for piece, final in _sealed(texts)] == texts
    assert opener.finished


@given(pieces_of_text, st.data())
def test_only_the_sealed_order_is_accepted(texts: list[bytes], data: st.DataObject) -> None:
    pieces = _sealed(texts)
    numbers = st.integers(0, len(pieces) - 1)
    order = data.draw(st.lists(numbers, min_size=1, max_size=len(pieces) + 2))
    opener = ReplyOpener(KEY, BINDING)
    accepted = 0
    for place, number in enumerate(order):
        sealed, final = pieces[number]
        if accepted == place and number == place:
            assert opener.open(sealed, final=final) == texts[number]
            accepted += 1
        else:
            with pytest.raises(ReplyForged):
                opener.open(sealed, final=final)
    assert opener.finished == (accepted == len(pieces))


@given(st.data())
def test_any_flipped_bit_is_refused_for_good(data: st.DataObject) -> None:
    [(sealed, final)] = _sealed([b"an answer"])
    altered = bytearray(sealed)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    altered[bit // 8] ^= 1 << bit % 8
    opener = ReplyOpener(KEY, BINDING)
    with pytest.raises(ReplyForged):
        opener.open(bytes(altered), final=final)
    with pytest.raises(ReplyForged):
        opener.open(sealed, final=final)
    assert not opener.finished


@given(st.integers(0, 79))
def test_truncated_piece_is_refused(cut: int) -> None:
    [(sealed, final)] = _sealed([b"an answer"])
    with pytest.raises(ReplyForged):
        ReplyOpener(KEY, BINDING).open(sealed[:cut], final=final)


def test_a_cut_stream_is_not_finished_and_cannot_be_made_to_look_so() -> None:
    (first, _), (_, _) = _sealed([b"no, you must", b" never do this"])
    with pytest.raises(ReplyForged):
        ReplyOpener(KEY, BINDING).open(first, final=True)
    opener = ReplyOpener(KEY, BINDING)
    opener.open(first, final=False)
    assert not opener.finished


def test_a_final_piece_cannot_be_made_to_look_like_one_in_between() -> None:
    [(sealed, _)] = _sealed([b"all"])
    with pytest.raises(ReplyForged):
        ReplyOpener(KEY, BINDING).open(sealed, final=False)


def test_nothing_follows_the_final_piece() -> None:
    sealer = ReplySealer(KEY, BINDING)
    final = sealer.seal(b"all", final=True)
    with pytest.raises(ValueError, match="final piece"):
        sealer.seal(b"more", final=False)
    opener = ReplyOpener(KEY, BINDING)
    opener.open(final, final=True)
    with pytest.raises(ReplyForged):
        opener.open(final, final=True)


@pytest.mark.parametrize(
    ("key", "binding"),
    [
        (b"l" * 32, BINDING),
        (KEY, dataclasses.replace(BINDING, dispatch_id=b"e" * 16)),
        (KEY, dataclasses.replace(BINDING, host=Identity.from_seed(b"i" * 32).peer_id)),
        (KEY, dataclasses.replace(BINDING, model_digest=b"n" * 32)),
        (KEY, dataclasses.replace(BINDING, expires_at_us=2)),
        (KEY, dataclasses.replace(BINDING, seed=8)),
    ],
    ids=["key", "dispatch", "host", "model", "expiry", "seed"],
)
def test_a_piece_is_bound_to_its_key_and_dispatch(key: bytes, binding: EnvelopeBinding) -> None:
    [(sealed, final)] = _sealed([b"an answer"])
    with pytest.raises(ReplyForged):
        ReplyOpener(key, binding).open(sealed, final=final)


@pytest.mark.parametrize(("text_bytes", "steps"), [(0, 1), (60, 1), (61, 2), (124, 2), (125, 3)])
def test_size_shows_only_steps_of_64_bytes(text_bytes: int, steps: int) -> None:
    sealed = ReplySealer(KEY, BINDING).seal(bytes(text_bytes), final=False)
    assert len(sealed) == 64 * steps + 16


def test_sizes_are_bounded() -> None:
    sealer = ReplySealer(KEY, BINDING)
    largest = sealer.seal(bytes(MAXIMUM_PIECE_BYTES), final=False)
    opener = ReplyOpener(KEY, BINDING)
    assert len(opener.open(largest, final=False)) == MAXIMUM_PIECE_BYTES
    with pytest.raises(PlaintextTooLarge):
        sealer.seal(bytes(MAXIMUM_PIECE_BYTES + 1), final=False)
    with pytest.raises(ReplyForged):
        opener.open(bytes(len(largest) + 1), final=False)


@pytest.mark.parametrize("end", [ReplySealer, ReplyOpener])
def test_keys_of_another_size_are_refused(end: type[ReplySealer | ReplyOpener]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        end(b"short", BINDING)
