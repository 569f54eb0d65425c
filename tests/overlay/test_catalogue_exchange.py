"""The question about the catalogue and its answer: over the wire, bounded, never waited for."""

from collections.abc import Callable

import msgpack
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from peerllm.overlay.account_messages import Account
from peerllm.overlay.catalogue_exchange import (
    ANSWER_SECONDS,
    QUESTION_SECONDS,
    answer_catalogue,
    ask_catalogue,
)
from peerllm.overlay.catalogue_messages import (
    MAXIMUM_ANSWER_BYTES,
    MAXIMUM_MODELS,
    MAXIMUM_PLACES,
    MAXIMUM_REGIONS,
    Catalogue,
    CatalogueAnswer,
    CatalogueAsked,
    CatalogueNotTold,
    CatalogueQuestion,
    LineLeft,
    OfferTaken,
    catalogue_answer,
    catalogue_question,
    to_body,
)
from peerllm.overlay.errors import FrameError, StreamClosed
from peerllm.overlay.framing import to_frame
from tests.overlay.catalogue_samples import CATALOGUE

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


class End:
    """One end of a stream in memory."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, maximum: int) -> bytes:
        return bytes(await self._stream.receive_some(maximum))

    async def write(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def close(self) -> None:
        await self._stream.aclose()


def ends() -> tuple[End, End]:
    ours, theirs = memory_stream_pair()
    return End(ours), End(theirs)


async def test_one_question_is_answered(autojump_clock: MockClock) -> None:
    asked: list[CatalogueQuestion] = []

    async def answer(question: CatalogueQuestion) -> CatalogueAnswer:
        asked.append(question)
        return CATALOGUE

    for question in (CatalogueAsked(), OfferTaken(region="bavaria"), LineLeft(region="bavaria")):
        host, coordinator = ends()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_catalogue, coordinator, answer)
            assert await ask_catalogue(host, question) == CATALOGUE
        assert asked[-1] == question


async def test_nobody_is_waited_for_without_end(autojump_clock: MockClock) -> None:
    async def never(_: CatalogueQuestion) -> CatalogueAnswer:
        raise AssertionError

    _host, coordinator = ends()
    began = trio.current_time()
    with pytest.raises(StreamClosed):
        await answer_catalogue(coordinator, never)
    assert trio.current_time() - began == QUESTION_SECONDS
    began = trio.current_time()
    with pytest.raises(StreamClosed):
        await ask_catalogue(ends()[0], CatalogueAsked())
    assert trio.current_time() - began == ANSWER_SECONDS


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x80", b"canary", bytes(600)])
async def test_garbage_is_refused_and_not_quoted(autojump_clock: MockClock, raw: bytes) -> None:
    async def never(_: CatalogueQuestion) -> CatalogueAnswer:
        raise AssertionError

    host, coordinator = ends()
    await host.write(to_frame(raw))
    with pytest.raises(FrameError) as refused:
        await answer_catalogue(coordinator, never)
    assert "canary" not in str(refused.value)


def test_an_answer_is_no_question_and_an_account_is_neither() -> None:
    account = msgpack.packb({"type": Account.__struct_config__.tag})
    parsers: list[Callable[[bytes], object]] = [catalogue_question, catalogue_answer]
    for parse in parsers:
        with pytest.raises(FrameError):
            parse(account)
    with pytest.raises(FrameError):
        catalogue_question(to_body(CatalogueNotTold(reason="unavailable")))
    with pytest.raises(FrameError):
        catalogue_answer(to_body(CatalogueAsked()))


def test_the_longest_answer_has_room() -> None:
    whole = msgspec.structs.replace(
        CATALOGUE,
        models=[
            msgspec.structs.replace(
                CATALOGUE.models[0], name="n" * 128, model_class="c" * 40, license="l" * 100
            )
        ]
        * MAXIMUM_MODELS,
        regions=[msgspec.structs.replace(CATALOGUE.regions[0], contact="c" * 500)]
        * MAXIMUM_REGIONS,
        places=CATALOGUE.places * MAXIMUM_PLACES,
    )
    raw = to_body(whole)
    assert len(raw) < MAXIMUM_ANSWER_BYTES
    assert catalogue_answer(raw) == whole


@given(field=st.sampled_from(Catalogue.__struct_fields__), value=JUNK)
@settings(max_examples=100)
def test_whatever_stands_in_a_field_it_is_a_catalogue_or_refused(field: str, value: object) -> None:
    raw = msgpack.packb(msgpack.unpackb(to_body(CATALOGUE)) | {field: value})
    try:
        found = catalogue_answer(raw)
    except FrameError:
        return
    assert isinstance(found, Catalogue)
