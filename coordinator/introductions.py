"""Which hosts a host may fetch a model's file from, and telling those to expect it.

A coordinator vouches for a file by its own copy, names holders by what it has seen of them
(never an address that a host made up), and asks each to admit the one that fetches.
"""

import ipaddress
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from peerllm.coordinator.orders import ServedModel
from peerllm.coordinator.registry import Holder, Registry
from peerllm.overlay.errors import SessionClosed
from peerllm.overlay.messages import (
    CoordinatorMessage,
    Introduce,
    ModelHolder,
    ModelHolders,
    ModelNotFound,
    ModelSharing,
)

# Twice what a fetch takes at once: slow and vanished ones are replaced without asking again.
_HOLDERS_NAMED: Final = 8
# A fetch asks again well before, so this is how long a host is admitted that left long ago.
INTRODUCTION_SECONDS: Final = 900
# A fetch asks once every ten minutes, and again when it has lost all its holders.
_QUESTION_SECONDS: Final = 30.0
_QUESTIONS_AT_ONCE: Final = 6


class Introductions:
    """Answers `FindModel` for the models that this coordinator serves.

    `shuffle` puts holders in random order, in place; `clock` gives seconds.
    """

    def __init__(
        self,
        registry: Registry,
        models: Iterable[ServedModel],
        *,
        clock: Callable[[], float],
        shuffle: Callable[[list[tuple[str, Holder]]], None],
    ) -> None:
        self._registry = registry
        self.serve(models)
        self._clock = clock
        self._shuffle = shuffle
        # One entry for each host that ever asked, as the registry keeps one for each it met.
        self._free_at: dict[str, float] = {}

    def serve(self, models: Iterable[ServedModel]) -> None:
        """From now on answer for these models."""
        by_name = {model.name: model for model in models}
        self._models = {model.digest.hex(): model for model in by_name.values()} | by_name

    def answer(self, asker: str, wanted: str) -> ModelHolders | ModelNotFound:
        """Find holders for the host `asker` and introduce it to them."""
        if not self._may_ask(asker):
            return ModelNotFound(wanted=wanted, reason="too_often")
        model = self._models.get(wanted) or self._models.get(wanted.lower())
        if model is None:
            return ModelNotFound(wanted=wanted, reason="unknown_model")
        told = []
        introduction = Introduce(
            peer_id=asker, digest=model.digest, valid_us=INTRODUCTION_SECONDS * 1_000_000
        )
        for peer_id, holder in self._holders(asker, model.digest):
            # One that has just left is no holder.
            with suppress(SessionClosed):
                holder.post(introduction)
                told.append(ModelHolder(peer_id=peer_id, address=holder.address))
            if len(told) == _HOLDERS_NAMED:
                break
        return ModelHolders(
            wanted=wanted,
            name=model.name,
            digest=model.digest,
            file_bytes=model.facts.file_bytes,
            list_digest=model.facts.list_digest,
            holders=told,
        )

    def _holders(self, asker: str, digest: bytes) -> list[tuple[str, Holder]]:
        found = [
            (live.seat.peer_id, live.holder)
            for live in self._registry.hosts
            if live.holder is not None
            and digest in live.holder.digests
            and live.seat.peer_id != asker
        ]
        self._shuffle(found)
        return found

    def _may_ask(self, asker: str) -> bool:
        now = self._clock()
        free_at = max(self._free_at.get(asker, now), now)
        if free_at - now > _QUESTION_SECONDS * (_QUESTIONS_AT_ONCE - 1):
            return False
        self._free_at[asker] = free_at + _QUESTION_SECONDS
        return True


def holder_of(
    sharing: ModelSharing | None,
    remote_address: str | None,
    post: Callable[[CoordinatorMessage], None],
) -> Holder | None:
    """What a host shares, at the address its session comes from; None when it shares nothing."""
    address = _endpoint(remote_address, sharing.port) if sharing else None
    if sharing is None or address is None:
        return None
    return Holder(address=address, digests=frozenset(sharing.digests), post=post)


def _endpoint(remote_address: str | None, port: int) -> str | None:
    try:
        parsed = ipaddress.ip_address(remote_address or "")
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        elif parsed.scope_id is not None:
            # Says something on the coordinator's own link only.
            return None
    return f"/ip{parsed.version}/{parsed}/tcp/{port}"
