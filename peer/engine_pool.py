"""Several models on one host: loaded when they are needed and there is room, evicted when idle.

What is decided stands in `engine_pool_policy` and docs/decisions/0006-several-models.md; here
it is done. All decisions are made between two awaits, so that no two promises rest on the
same memory.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Final

import trio

from peerllm.overlay.messages import ModelOffer
from peerllm.peer.catalogue import WantedModel
from peerllm.peer.engine_pool_policy import (
    Memory,
    NoRoom,
    Resident,
    Room,
    above_cap,
    cap_for,
    make_room,
    share_threads,
)
from peerllm.peer.generation import EngineReady, EngineState, EngineUnavailable
from peerllm.peer.model_keeper import ModelKeeper
from peerllm.peer.pool_parts import PoolParts
from peerllm.peer.pooled_model import EngineLimits, EngineRun, PooledModel
from peerllm.peer.served_models import Lease

# How long an altered file may be served from, and how late free memory is noticed.
_LOOK_SECONDS: Final = 2.0
# A model that needs more than the engine found free costs one process start a minute.
_RETRY_SECONDS: Final = 60.0


class EnginePool:
    """The models of one host. Made by `open_pool`."""

    def __init__(self, parts: PoolParts, nursery: trio.Nursery) -> None:
        self._parts = parts
        self._nursery = nursery
        self._keeper = ModelKeeper(parts.files, self)
        self._models: dict[str, PooledModel] = {}
        self._stirred = trio.Event()
        self._offers_changed = trio.Event()
        self._threads, self._nice, self._cap = 0, 0, 0
        self._granted: dict[bytes, int] = {}

    @property
    def models(self) -> tuple[PooledModel, ...]:
        """All models, in the order in which they were named."""
        return tuple(self._models.values())

    @property
    def running(self) -> int:
        """Chunks on all models."""
        return sum(model.leases for model in self.models)

    @property
    def process_ids(self) -> list[int]:
        """Of all engine processes."""
        engines = [model.run.engine for model in self.models if model.run]
        return [engine.process_id for engine in engines if engine and engine.process_id]

    def find(self, wanted: str) -> PooledModel | None:
        """The model of this name, or the only one whose digest begins so."""
        if model := self._models.get(wanted):
            return model
        found = [m for m in self.models if len(wanted) >= 4 and m.digest.hex().startswith(wanted)]
        return found[0] if len(found) == 1 else None

    def offers(self) -> list[ModelOffer]:
        """The models that coordinators are told of; see `ServedModels` for this and the rest."""
        return [
            ModelOffer(
                digest=model.digest,
                name=model.name,
                context_tokens=model.proved.context_tokens,
                slots=min(model.proved.slots, self._parts.slots),
                tokens_per_second_milli=model.proved.tokens_per_second_milli,
            )
            for model in self.models
            if model.proved and model.is_offered
        ]

    async def wait_offer(self) -> None:
        """Wait until a model takes work or could be loaded for it."""
        while not any(self._could_serve(model) for model in self.models):
            await self._offers_changed.wait()

    def free_slots(self, digest: bytes) -> int:
        """How many more chunks of a model would be taken now."""
        model = self.served(digest)
        if model is None or model.proved is None or not self._could_serve(model):
            return 0
        return max(0, min(model.proved.slots - model.leases, self._parts.slots - self.running))

    def take(self, digest: bytes) -> Lease | None:
        """Hold a slot for a chunk, loading the model if need be; None when none is free."""
        model = self.served(digest)
        if model is None or not self.free_slots(digest):
            return None
        room = None if model.run else self._room_for(model)
        if isinstance(room, NoRoom):
            return None
        # Before anyone is told of the load: this slot is no longer free.
        model.leases += 1
        model.last_used = trio.current_time()
        if room is not None:
            self._begin(model, room)
        self._tune_all()
        return Lease(model, partial(self._release, model))

    def knows(self, digest: bytes) -> bool:
        """Whether this host has a model with this digest, loaded or not."""
        return any(model.known and model.digest == digest for model in self.models)

    def add(self, wanted: WantedModel, *, preloaded: bool = False) -> PooledModel:
        """Take one more model into service; it is read and, if there is room, loaded."""
        model = PooledModel(wanted, preloaded=preloaded)
        self._models[wanted.name] = model
        self.load(model)
        return model

    def load(self, model: PooledModel) -> None:
        """Load it as soon as there is room, from its file as it is now.

        What was wrong with it, and that its owner had unloaded it, is forgotten.
        """
        model.unloaded_by_owner = False
        if model.run is not None and not model.file_fault:
            self.changed(model)
            return
        model.fault, model.no_room, model.in_line = None, "", True
        model.is_being_read = True
        self.changed(model)
        self._stirred.set()

    def move(self, model: PooledModel, found: WantedModel) -> None:
        """Read a model from another place from now on, if that is said to be the same file."""
        if found.digest is not None and found.digest in (model.wanted.digest, model.digest):
            model.wanted = replace(model.wanted, path=found.path)

    def unload(self, model: PooledModel) -> None:
        """Grant no more slots, and put the engine away once no chunk runs on it."""
        model.unloaded_by_owner, model.in_line = True, False
        self._tidy()
        self.changed(model)

    def tune(self, *, threads: int, nice: int, memory_cap_bytes: int) -> None:
        """Put the owner's limits in force; the cap counts for all models together."""
        self._threads, self._nice, self._cap = threads, nice, memory_cap_bytes
        self._tune_all()
        self._tidy()
        self._stirred.set()

    async def run(self) -> None:
        """Read and load what is in line; notice what becomes of files and free memory."""
        look_at = trio.current_time()
        while True:
            self._stirred = trio.Event()
            for model in self.models:
                # A running chunk is not disturbed: no further one is taken meanwhile.
                if model.is_being_read and not model.leases:
                    await self._keeper.read(model)
                    self._load_next()
            self._load_next()
            if trio.current_time() >= look_at:
                look_at = trio.current_time() + _LOOK_SECONDS
                for model in self.models:
                    await self._keeper.watch(model)
                self._retry()
                self._tell_slots()
            with trio.move_on_at(look_at):
                await self._stirred.wait()

    # What follows acts at once, but for `_serve`.

    def served(self, digest: bytes) -> PooledModel | None:
        """The model with this digest, unless it cannot be served."""
        found = (m for m in self.models if m.known and m.digest == digest)
        return next((model for model in found if model.fault is None), None)

    def _could_serve(self, model: PooledModel) -> bool:
        if not model.is_offered or model.is_being_read:
            return False
        return model.takes_work if model.run else isinstance(self._room_for(model), Room)

    def _residents(self) -> list[Resident]:
        free = self._parts.weights_count_as_free
        found = (model.resident(weights_count_as_free=free) for model in self.models)
        return [resident for resident in found if resident]

    def _room_for(self, model: PooledModel) -> Room | NoRoom:
        assert model.known is not None  # noqa: S101 - only what has been read is loaded
        memory = Memory(self._parts.free_memory(), self._cap_for_models())
        return make_room(model.known.need, self._residents(), memory)

    def _cap_for_models(self) -> int:
        # Not 0, which would lift the cap.
        return max(1, self._cap - self._parts.own_memory()) if self._cap else 0

    def _load_next(self) -> None:
        """Begin to load what is in line, preloaded models first, one at a time."""
        waiting = [m for m in self.models if m.in_line and m.known and not m.is_being_read]
        for model in sorted(waiting, key=lambda model: not model.preloaded):
            if any(other.run and not other.run.was_ready for other in self.models):
                return
            room = self._room_for(model)
            if isinstance(room, Room):
                self._begin(model, room)
            elif room.sentence != model.no_room:
                model.no_room = room.sentence
                self.changed(model)

    def _begin(self, model: PooledModel, room: Room) -> None:
        leaving = [run for name in room.evict if (run := self.put_away(self._models[name]))]
        model.in_line, model.no_room = False, ""
        # Begun is used: or it would be the first to go again.
        model.last_used = trio.current_time()
        model.run = EngineRun(began=trio.current_time())
        self._nursery.start_soon(self._serve, model, model.run, leaving)
        self.changed(model)

    def put_away(self, model: PooledModel) -> EngineRun | None:
        """End a model's engine, if it has one; gives it, since its memory goes with its process."""
        run, model.run = model.run, None
        if run is not None:
            run.over.set()
            run.scope.cancel()
            self.changed(model)
        return run

    def _release(self, model: PooledModel) -> None:
        model.leases -= 1
        model.last_used = trio.current_time()
        self._tidy()
        self._tune_all()
        self._stirred.set()
        self._parts.on_change(None)

    def _tidy(self) -> None:
        """Put away what its owner unloaded, or no longer has the memory for."""
        beyond = above_cap(self._residents(), self._cap_for_models())
        for model in self.models:
            if not model.leases and (model.unloaded_by_owner or model.name in beyond):
                self.put_away(model)

    def _tune_all(self) -> None:
        for model in self.models:
            self._tune(model)

    def _tune(self, model: PooledModel) -> None:
        run, known = model.run, model.known
        if run is None or run.engine is None or known is None:
            return
        busy = sum(other.leases > 0 for other in self.models)
        wanted = EngineLimits(
            threads=share_threads(self._threads or known.settings.threads, busy),
            nice=self._nice,
            memory_cap_bytes=cap_for(model.name, self._residents(), self._cap_for_models()),
        )
        if wanted != run.told:
            run.told = wanted
            run.engine.tune(**asdict(wanted))

    def _engine_changed(self, model: PooledModel, run: EngineRun, state: EngineState) -> None:
        if model.run is not run:
            return
        if isinstance(state, EngineReady):
            if not run.was_ready:
                model.load_seconds = trio.current_time() - run.began
            run.was_ready, model.proved = True, state
        elif isinstance(state, EngineUnavailable):
            self.condemn(model, state)
            return
        self.changed(model)
        self._stirred.set()

    def condemn(self, model: PooledModel, fault: EngineUnavailable) -> None:
        """Serve a model no more until its owner has it loaded again."""
        model.fault, model.proved, model.in_line = fault, None, False
        self.put_away(model)
        self.changed(model)
        self._stirred.set()

    def _retry(self) -> None:
        """Memory that was short when an engine loaded may be there by now."""
        for model in self.models:
            short = model.fault is not None and model.fault.reason == "no_memory"
            if (
                short
                and not model.unloaded_by_owner
                and trio.current_time() >= model.last_used + _RETRY_SECONDS
            ):
                self.load(model)

    def changed(self, model: PooledModel) -> None:
        """Tell those who wait or watch that something about a model is different."""
        model.wake()
        self._offers_changed.set()
        self._offers_changed = trio.Event()
        self._parts.on_change(model)

    def _tell_slots(self) -> None:
        """Say so when free memory alone has changed what is granted."""
        granted = {model.digest: self.free_slots(model.digest) for model in self.models}
        if granted != self._granted:
            self._granted = granted
            self._offers_changed.set()
            self._offers_changed = trio.Event()
            self._parts.on_change(None)

    async def _serve(self, model: PooledModel, run: EngineRun, leaving: list[EngineRun]) -> None:
        """One engine from start to end, once those before it have given back their memory."""
        assert model.known is not None  # noqa: S101 - only what has been read is loaded
        on_state = partial(self._engine_changed, model, run)
        try:
            with run.scope:
                for before in leaving:
                    await before.gone.wait()
                async with self._parts.open_engine(model.known.settings, on_state) as engine:
                    run.engine = engine
                    # Before the process is told to load: the memory cap counts for loading, too.
                    self._tune(model)
                    await run.over.wait()
        finally:
            run.gone.set()
            # Its memory is free now.
            self._tell_slots()
            self._stirred.set()


@asynccontextmanager
async def open_pool(
    parts: PoolParts, models: Sequence[WantedModel], preloaded: Sequence[str] = ()
) -> AsyncIterator[EnginePool]:
    """A pool whose models are read and loaded while the block runs.

    `preloaded` names the models that are loaded first and never make room for others.
    """
    async with trio.open_nursery() as nursery:
        pool = EnginePool(parts, nursery)
        for wanted in sorted(models, key=lambda wanted: wanted.name not in preloaded):
            pool.add(wanted, preloaded=wanted.name in preloaded)
        nursery.start_soon(pool.run)
        yield pool
        nursery.cancel_scope.cancel()
