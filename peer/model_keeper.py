"""Keeps a pool's models true to their files: reads them, and notices what becomes of them."""

from dataclasses import replace
from typing import Protocol

from peerllm.peer.errors import ModelError
from peerllm.peer.generation import EngineUnavailable
from peerllm.peer.model_files import ModelFiles
from peerllm.peer.pooled_model import EngineRun, PooledModel


class Shelf(Protocol):
    """The pool, as far as files matter to it."""

    def served(self, digest: bytes) -> PooledModel | None:
        """The model with this digest, unless it cannot be served."""

    def condemn(self, model: PooledModel, fault: EngineUnavailable) -> None:
        """Serve a model no more until its owner has it loaded again."""

    def put_away(self, model: PooledModel) -> EngineRun | None:
        """End a model's engine, if it has one."""

    def changed(self, model: PooledModel) -> None:
        """Something about a model is different."""


class ModelKeeper:
    """Reads and watches the files of one pool."""

    def __init__(self, files: ModelFiles, shelf: Shelf) -> None:
        self._files = files
        self._shelf = shelf

    async def read(self, model: PooledModel) -> None:
        """Take the file as it is now; what is loaded of another one is put away."""
        try:
            known = await self._files.read(model.wanted)
        except ModelError as error:
            model.is_being_read = False
            self._find_fault(model, EngineUnavailable(error.reason, str(error)))
            return
        model.is_being_read = False
        twin = self._shelf.served(known.digest)
        if twin is not None and twin is not model:
            sentence = f"{model.wanted.path} is the same model as {twin.name}: one is enough"
            self._shelf.condemn(model, EngineUnavailable("duplicate", sentence))
            return
        if model.digest != known.digest:
            # What was known of another model under this name counts no more.
            self._shelf.put_away(model)
            model.proved = None
        model.known, model.seen, model.file_fault = known, known.sign, ""
        model.in_line = model.run is None and not model.unloaded_by_owner
        self._shelf.changed(model)

    def _find_fault(self, model: PooledModel, fault: EngineUnavailable) -> None:
        """An engine that has the whole file already serves on."""
        if model.run is not None and model.run.was_ready:
            model.file_fault, model.in_line = fault.sentence, False
            self._shelf.changed(model)
        else:
            self._shelf.condemn(model, fault)

    async def watch(self, model: PooledModel) -> None:
        """Notice that a file is gone, replaced or altered since it was read."""
        if model.known is None or model.fault is not None or model.is_being_read:
            return
        known = model.known
        sign = await self._files.sign(model.wanted.path)
        if sign == model.seen or model.known is not known:
            return
        # In place: an engine that maps the file computes with what stands there now.
        altered = bool(sign and known.sign and sign.inode == known.sign.inode)
        model.seen, model.is_being_read = sign, altered
        self._shelf.changed(model)
        pinned = replace(model.wanted, digest=known.digest)
        try:
            found = await self._files.read(pinned)
        except ModelError as error:
            fault = EngineUnavailable(error.reason, str(error))
            model.is_being_read = False
            if altered:
                self._shelf.condemn(model, fault)
            else:
                self._find_fault(model, fault)
            return
        model.known, model.seen, model.file_fault = found, found.sign, ""
        model.is_being_read = False
        self._shelf.changed(model)
