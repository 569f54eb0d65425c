"""What cannot be measured is told as what it is, in whichever nursery it was raised."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from peerllm.peer import benchmark
from peerllm.peer.benchmark import BenchmarkError, measure
from peerllm.peer.catalogue import WantedModel
from peerllm.peer.engine import EngineSettings
from peerllm.peer.engine_protocol import GenerationTask
from peerllm.peer.errors import ModelError
from peerllm.peer.generation import GenerationFailed
from peerllm.peer.model_files import DiskModelFiles
from peerllm.peer.models import ModelFile
from tests.peer.conftest import ScriptedEngine, ScriptedGeneration
from tests.peer.gguf_files import tiny_gguf


class DyingEngine(ScriptedEngine):
    """An engine whose process ends in every answer."""

    @contextmanager
    def generate(self, task: GenerationTask) -> Iterator[ScriptedGeneration]:
        with super().generate(task) as generation:
            generation.feed(GenerationFailed("engine_died"))
            yield generation


async def test_a_file_that_no_library_loads_is_refused_though_it_is_measured_first(
    tmp_path: Path,
) -> None:
    hollow = tmp_path / "hollow.gguf"
    # Well formed, but for the tensors that a model of this kind must have.
    hollow.write_bytes(tiny_gguf(tokenizer__chat_template="{{ messages }}"))
    files = DiskModelFiles(tmp_path, tmp_path / "digests.json", slots=0, context_tokens=256)
    with pytest.raises(ModelError, match="cannot load"):
        await files.read(WantedModel("hollow", hollow))


async def test_an_engine_that_dies_while_it_is_measured_is_no_worse_than_a_slow_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def open_engine(_settings: EngineSettings) -> AsyncIterator[ScriptedEngine]:
        async with trio.open_nursery():
            yield DyingEngine()

    monkeypatch.setattr(benchmark, "open_engine", open_engine)
    model = ModelFile("mine", tmp_path / "mine.gguf", bytes(32))
    with pytest.raises(BenchmarkError, match="failed while it was measured"):
        await measure(model, slots=0, threads=1, digest_cache=tmp_path / "digests.json")
