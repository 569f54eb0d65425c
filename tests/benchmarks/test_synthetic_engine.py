import ast
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import trio
from trio.testing import MockClock
from typer.testing import CliRunner

from benchmarks.synthetic_engine import Pace, SyntheticEngine, invent
from peerllm.peer.engine import EngineSettings
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.generation import Engine, EngineReady, GeneratedPiece, GenerationRefused
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.model_commands import EngineName, model_app
from peerllm.peer.models import ModelFile

ROOT = Path(__file__).parents[2]
PACKAGES: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
    "setuptools"
]["package-dir"]
MODULES = sorted(path for folder in PACKAGES.values() for path in (ROOT / folder).rglob("*.py"))

# They ask for a steward's passphrase, for the terminal's width and for a display to draw on.
READERS_OF_THE_ENVIRONMENT = {
    ROOT / "charter" / "command_options.py",
    ROOT / "cli" / "main.py",
    ROOT / "peer" / "desktop" / "commands.py",
}


def task(max_tokens: int = 5, content: str = "Tell me more.", **rest: Any) -> GenerationTask:
    turns = [TaskTurn(role="user", content=content)]
    return GenerationTask(turns=turns, max_tokens=max_tokens, **rest)


async def collect(engine: Engine, wanted: GenerationTask) -> list[tuple[float, int, str, str]]:
    """Every piece: when it came, its tokens, its text and its end."""
    began, pieces = trio.current_time(), []
    with engine.generate(wanted) as generation:
        while True:
            step = await generation.next()
            assert isinstance(step, GeneratedPiece)
            came = round(trio.current_time() - began, 6)
            pieces.append((came, len(step.tokens), step.text, step.finish))
            if step.finish:
                return pieces


async def test_tokens_come_at_the_set_rate_after_the_set_time(autojump_clock: MockClock) -> None:
    engine = SyntheticEngine(Pace(first_token_seconds=2.0, tokens_per_second=4.0))
    pieces = await collect(engine, task(3))
    assert [piece[0] for piece in pieces] == [2.0, 2.25, 2.5, 2.75]
    assert [piece[1] for piece in pieces] == [1, 1, 1, 0]
    assert pieces[-1][3] == "length"
    assert await engine.wait_ready() == EngineReady(1, 4096, 4000)


async def test_a_slow_reader_gets_what_is_due_at_once(autojump_clock: MockClock) -> None:
    engine = SyntheticEngine(Pace(tokens_per_second=10.0))
    with engine.generate(task(100)) as generation:
        await generation.next()
        await trio.sleep(1.01)
        assert generation.prompt_tokens == 3
        assert len(getattr(await generation.next(), "tokens", ())) == 10
        await trio.sleep(100)
        # As many as the daemon puts into one piece.
        assert len(getattr(await generation.next(), "tokens", ())) == 32


async def test_answers_beyond_the_slots_wait_and_leaving_frees_a_slot(
    autojump_clock: MockClock,
) -> None:
    engine = SyntheticEngine(Pace(tokens_per_second=1.0), slots=2)
    ends: list[float] = []

    async def answer() -> None:
        began = trio.current_time()
        await collect(engine, task(10))
        ends.append(round(trio.current_time() - began))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(answer)
    assert ends == [10, 10, 20, 20]
    with engine.generate(task(10)) as left, engine.generate(task(10)) as kept:
        await left.next()
        await kept.next()
        with trio.move_on_after(0.5) as waiting, engine.generate(task(10)) as third:
            await third.next()
        assert waiting.cancelled_caught
    assert len(await collect(engine, task(10))) == 11


async def test_the_text_depends_on_the_task_alone() -> None:
    async def text(wanted: GenerationTask) -> str:
        engine = SyntheticEngine(Pace())
        return "".join(piece[2] for piece in await collect(engine, wanted))

    whole = await text(task(40))
    assert whole == await text(task(40))
    assert len(whole.split()) == 40
    assert whole != await text(task(40, seed=1))
    assert whole != await text(task(40, "Something else."))
    # Another host goes on where the first one stopped, in the middle of a word.
    assert whole[:30] + await text(task(40, assistant_prefix=whole[:30])) == invent(task(40))
    said = SyntheticEngine(Pace(), write=lambda _task: "as it is written")
    assert [piece[2:] for piece in await collect(said, task(40))] == [
        ("as it is written", ""),
        ("", "stop"),
    ]


async def test_a_prompt_beyond_the_context_is_refused() -> None:
    engine = SyntheticEngine(Pace(), context_tokens=8)
    with engine.generate(task(5, "word" + " word" * 8)) as generation:
        assert await generation.next() == GenerationRefused("context_exceeded")
    assert sum(piece[1] for piece in await collect(engine, task(50, "word" + " word" * 4))) == 3


def nodes_of(path: Path, *words: str) -> Iterator[ast.AST]:
    """What a module is made of, if it has one of these words at all."""
    source = path.read_text()
    if any(word in source for word in words):
        yield from ast.walk(ast.parse(source))


def test_no_installed_module_knows_of_it() -> None:
    assert len(MODULES) > 100
    assert not {"benchmarks", "tests", "."} & set(PACKAGES.values())
    for path in MODULES:
        source = path.read_text().lower()
        for word in ("synthetic_engine", "syntheticengine", "synthetic engine"):
            assert word not in source, path
        for node in nodes_of(path, "benchmarks", "tests"):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names = [node.value]
            assert not any(name.split(".")[0] in {"benchmarks", "tests"} for name in names), path


def test_no_module_is_imported_by_a_name_from_outside() -> None:
    """Importing by name is the only way in for a setting: every such name is written down."""
    ways = ("import_module", "__import__", "entry_points", "runpy", "exec_module")
    found = [
        (path.relative_to(ROOT).as_posix(), ast.unparse(node.args[0]))
        for path in MODULES
        for node in nodes_of(path, *ways)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ways
    ]
    assert sorted(found) == [
        # From its own table of rooms.
        ("cli/main.py", "module"),
        ("peer/legacy_model.py", "'ctransformers.llm'"),
        ("peer/llama.py", "'llama_cpp'"),
    ]


def test_an_engine_process_runs_one_of_two_modules() -> None:
    def module(legacy: LegacyFormat | None) -> str:
        model = ModelFile("synthetic", Path("synthetic_engine"), bytes(32), legacy)
        return EngineSettings(model, Path("digests"), 1, 512, 1).module

    assert module(None) == "peerllm.peer.engine_process"
    assert module(LegacyFormat(architecture="gpt2")) == "peerllm.peer.legacy_process"
    assert get_args(EngineName) == ("llama.cpp", "ctransformers")


@pytest.mark.parametrize("name", ["synthetic", "synthetic_engine", "benchmarks.synthetic_engine"])
def test_no_option_or_variable_reaches_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No module reads its environment to choose an engine, under whatever name.
    for path in set(MODULES) - READERS_OF_THE_ENVIRONMENT:
        source = path.read_text()
        assert not any(word in source for word in ("getenv", "environ.get", 'environ["PEER')), path
    for variable in ("PEERLLM_ENGINE", "ENGINE", "PEERLLM_SYNTHETIC"):
        monkeypatch.setenv(variable, name)
    data = ["--data-directory", str(tmp_path)]
    for arguments in (
        ["add", *data, "/model.bin", "--engine", name, "--architecture", "gpt2"],
        ["add", *data, "/model.bin", "--engine", "ctransformers", "--architecture", name],
        ["benchmark", *data, name],
        ["add", *data, name],
    ):
        assert CliRunner().invoke(model_app, arguments).exit_code in {1, 2}, arguments


def test_an_unlimited_rate_is_advertised_as_some_number() -> None:
    state = SyntheticEngine(Pace(tokens_per_second=math.inf)).state
    assert state.tokens_per_second_milli == 1_000_000_000
