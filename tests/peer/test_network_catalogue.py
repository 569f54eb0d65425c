"""What a host keeps of its coordinator's catalogue, and how often it asks."""

from collections.abc import Callable

import msgspec
import trio
from trio.testing import MockClock, memory_stream_pair

from peerllm.overlay.catalogue_exchange import answer_catalogue
from peerllm.overlay.catalogue_messages import (
    CatalogueAnswer,
    CatalogueAsked,
    CatalogueNotTold,
    CatalogueQuestion,
    OfferTaken,
)
from peerllm.overlay.errors import DialError
from peerllm.peer.network_catalogue import UNREACHABLE, WORDS, NetworkCatalogue
from tests.overlay.catalogue_samples import CATALOGUE
from tests.overlay.test_catalogue_exchange import End

WAITING = msgspec.structs.replace(CATALOGUE, seat=None)


class Coordinator:
    """Answers as a test says; unreachable without an answer."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.answers: Callable[[CatalogueQuestion], CatalogueAnswer] | None = None
        self.asked: list[tuple[float, CatalogueQuestion]] = []

    async def dial(self) -> End:
        await trio.lowlevel.checkpoint()
        if self.answers is None:
            raise DialError("nobody")
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(answer_catalogue, End(theirs), self._answer)
        return End(ours)

    async def _answer(self, question: CatalogueQuestion) -> CatalogueAnswer:
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), question))
        assert self.answers is not None
        return self.answers(question)


async def test_it_asks_each_minute_until_there_is_a_seat(autojump_clock: MockClock) -> None:
    changes: list[float] = []
    async with trio.open_nursery() as nursery:
        coordinator = Coordinator(nursery)
        kept = NetworkCatalogue(
            coordinator.dial,
            now_us=lambda: 7,
            on_change=lambda: changes.append(trio.current_time()),
        )
        coordinator.answers = lambda _: WAITING if len(coordinator.asked) < 3 else CATALOGUE
        nursery.start_soon(kept.run)
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    times = [at - coordinator.asked[0][0] for at, _ in coordinator.asked]
    assert [round(at) for at in times] == [0, 60, 120, 720]
    assert kept.told is not None
    assert (kept.told.told_at_us, kept.told.catalogue) == (7, CATALOGUE)
    assert len(changes) == 4


async def test_what_is_not_done_is_said_and_what_was_known_is_kept(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        coordinator = Coordinator(nursery)
        kept = NetworkCatalogue(coordinator.dial, now_us=lambda: 7, on_change=lambda: None)
        assert await kept.ask(CatalogueAsked()) == UNREACHABLE
        assert kept.told is None
        coordinator.answers = lambda _: WAITING
        assert await kept.ask(OfferTaken(region="bavaria")) == ""
        assert coordinator.asked[-1][1] == OfferTaken(region="bavaria")
        coordinator.answers = lambda _: CatalogueNotTold(reason="lapsed")
        assert await kept.ask(OfferTaken(region="bavaria")) == WORDS["lapsed"]
        assert kept.told is not None
        assert kept.told.catalogue == WAITING
