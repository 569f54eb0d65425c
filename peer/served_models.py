"""What the models of a host are to its daemon: offers, slots, and an engine for each chunk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from peerllm.overlay.messages import ModelOffer
from peerllm.peer.generation import Engine


@dataclass(frozen=True)
class Lease:
    """A model's slot, held for one chunk until `release` is called, once."""

    engine: Engine
    release: Callable[[], None]


class ServedModels(Protocol):
    """The models of one host; `peerllm.peer.engine_pool` gives it with real engines."""

    def offers(self) -> list[ModelOffer]:
        """The models that coordinators are told of."""

    async def wait_offer(self) -> None:
        """Wait until a model takes work, or could be loaded for it."""

    def knows(self, digest: bytes) -> bool:
        """Whether this host has a model with this digest, loaded or not."""

    def free_slots(self, digest: bytes) -> int:
        """How many more chunks of a model would be taken now."""

    def take(self, digest: bytes) -> Lease | None:
        """Hold a slot for a chunk, loading the model if need be; None when none is free."""
