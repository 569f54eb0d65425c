"""Keeps what the coordinator says of its models, the free seats and this host's place in line."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from peerllm.overlay.catalogue_exchange import ask_catalogue
from peerllm.overlay.catalogue_messages import (
    Catalogue,
    CatalogueAsked,
    CatalogueNotTold,
    CatalogueQuestion,
)
from peerllm.overlay.errors import OverlayError
from peerllm.overlay.framing import ByteStream

# The catalogue changes by the week.
_SEATED_SECONDS: Final = 600.0
# A host in line, or refused for want of a seat, wants to know soon.
_WAITING_SECONDS: Final = 60.0

WORDS: Final = {
    "too_often": "the coordinator was asked just now: try again in some seconds",
    "unavailable": "the coordinator cannot tell at the moment: try again in a minute",
    "no_offer": "this host is offered no seat in that region",
    "lapsed": "the offer has run out, and its seat goes to the next in line",
    "elsewhere": "this host holds a seat in another region, which must be given up first",
    "suspended": "the region is suspended and takes no hosts",
}
UNREACHABLE: Final = (
    "the coordinator does not answer: it tells only hosts that hold a seat or are in line for one; "
    "otherwise it is away, or of another release"
)


@dataclass(frozen=True)
class ToldCatalogue:
    """What the coordinator has said, and when by this host's clock."""

    told_at_us: int
    catalogue: Catalogue


class NetworkCatalogue:
    """Asks now and then. `dial` opens a stream to the coordinator; `on_change` hears of news."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[ByteStream]],
        *,
        now_us: Callable[[], int],
        on_change: Callable[[], None],
    ) -> None:
        self._dial = dial
        self._now_us = now_us
        self._on_change = on_change
        self.told: ToldCatalogue | None = None

    async def run(self) -> None:
        """Ask until cancelled; more often while there is no seat."""
        while True:
            await self.ask(CatalogueAsked())
            await trio.sleep(_SEATED_SECONDS if self.has_seat else _WAITING_SECONDS)

    @property
    def has_seat(self) -> bool:
        """Whether the coordinator has said so."""
        return self.told is not None and self.told.catalogue.seat is not None

    async def ask(self, question: CatalogueQuestion) -> str:
        """Ask, or have something done; "" or, in one sentence, why it was not."""
        try:
            answer = await ask_catalogue(await self._dial(), question)
        except OverlayError:
            return UNREACHABLE
        if isinstance(answer, CatalogueNotTold):
            return WORDS[answer.reason]
        self.told = ToldCatalogue(self._now_us(), answer)
        self._on_change()
        return ""
