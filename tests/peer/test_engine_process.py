import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from peerllm.peer.engine_protocol import (
    Cancel,
    Crashed,
    Finished,
    GenerationTask,
    Load,
    LoadFailed,
    Progress,
    Ready,
    Refused,
    Started,
    Submit,
    TaskTurn,
    Tokens,
)
from peerllm.peer.models import EMBEDDED_MODEL, DigestCache, embedded_model_path
from tests.peer.running_process import RunningProcess

SECRET = "ZYXWVUT"


@pytest.fixture
def process() -> Iterator[RunningProcess]:
    running = RunningProcess()
    yield running
    running.kill()


def load(
    path: Path, digest: bytes = EMBEDDED_MODEL.digest, slots: int = 2, context_tokens: int = 256
) -> Load:
    return Load(
        path=str(path),
        digest=digest,
        digest_cache="/nonexistent/digests.json",
        slots=slots,
        context_tokens=context_tokens,
        threads=1,
    )


def submit(number: int, content: str = "Count to ten.", max_tokens: int = 4) -> Submit:
    turns = [TaskTurn(role="user", content=content)]
    return Submit(number=number, task=GenerationTask(turns=turns, max_tokens=max_tokens))


def test_it_loads_generates_cancels_and_ends_with_its_pipe(process: RunningProcess) -> None:
    process.send(load(embedded_model_path()))
    *progress, ready = process.receive_until(Ready, LoadFailed)
    assert all(isinstance(message, Progress) for message in progress)
    assert isinstance(ready, Ready)
    assert (ready.slots, ready.context_tokens) == (2, 256)
    assert ready.tokens_per_second_milli > 0

    # Ctrl-C reaches the whole group; how to stop is for the daemon to say.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        process.signal(ignored)
    process.send(submit(1))
    first, *rest = process.receive_until(Finished)
    assert isinstance(first, Started)
    assert first.prompt_tokens > 10
    assert rest[-1] == Finished(number=1, finish="length")
    assert sum(len(m.tokens) for m in rest if isinstance(m, Tokens)) == 4

    process.send(submit(2, max_tokens=10_000))
    process.receive_until(Tokens)
    process.send(Cancel(number=2))
    # One slot of two is free again, so two more run at once, and 2 falls silent.
    process.send(submit(3))
    process.receive_until(Finished)
    process.send(submit(4, content="word " * 400))
    refused = process.receive_until(Refused)[-1]
    assert isinstance(refused, Refused)
    assert refused.reason == "context_exceeded"
    assert "256" in refused.sentence
    code, printed = process.end()
    assert (code, printed) == (0, b"")


def test_no_more_context_is_offered_than_the_model_was_trained_on(process: RunningProcess) -> None:
    process.send(load(embedded_model_path(), slots=1, context_tokens=100_000))
    ready = process.receive_until(Ready, LoadFailed)[-1]
    assert isinstance(ready, Ready)
    assert ready.context_tokens == 8192


def test_a_wrong_digest_is_not_loaded(process: RunningProcess) -> None:
    process.send(load(embedded_model_path(), digest=bytes(32)))
    failed = process.receive()
    assert isinstance(failed, LoadFailed)
    assert failed.reason == "digest_mismatch"


def cut_short(whole: bytes) -> bytes:
    return whole[:1_900_000]


def without_blocks(whole: bytes) -> bytes:
    # The library ends its process over this one.
    at = whole.index(b"llama.block_count") + len(b"llama.block_count") + 4
    return whole[:at] + bytes(4) + whole[at + 4 :]


def absurd_count(whole: bytes) -> bytes:
    return whole[:8] + b"\xff" * 8 + whole[16:]


def garbled_metadata(whole: bytes) -> bytes:
    return whole[:24] + b"\x80" * 400 + whole[424:]


@pytest.mark.parametrize("damage", [cut_short, without_blocks, absurd_count, garbled_metadata])
def test_a_damaged_model_is_not_loaded(
    process: RunningProcess, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damage(embedded_model_path().read_bytes()))
    process.send(load(path, digest=_digest(path)))
    failed = process.receive()
    assert isinstance(failed, LoadFailed)
    assert failed.reason == "unloadable"
    assert failed.sentence.startswith(f"the model file {path} is damaged: ")
    assert "\n" not in failed.sentence
    assert process.end() == (0, b"")


def test_what_does_not_fit_is_refused_before_loading_with_the_numbers(
    process: RunningProcess,
) -> None:
    wanted = load(embedded_model_path(), slots=4, context_tokens=4096)
    process.send(msgspec.structs.replace(wanted, memory_cap_bytes=300_000_000))
    failed = process.receive()
    assert isinstance(failed, LoadFailed)
    assert failed.reason == "no_memory"
    assert "takes 586 MB (weights 97 MB, answers 378 MB" in failed.sentence
    assert "the memory cap allows 300 MB" in failed.sentence


def test_a_missing_library_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "llama_cpp"
    broken.mkdir()
    broken.joinpath("__init__.py").write_text("raise RuntimeError('cannot load libllama.so')")
    process = RunningProcess({"PYTHONPATH": str(tmp_path)})
    process.send(load(embedded_model_path()))
    failed = process.receive()
    assert isinstance(failed, LoadFailed)
    assert failed.reason == "no_library"
    assert "install llama-cpp-python" in failed.sentence
    assert process.end() == (0, b"")


def test_a_crash_shows_its_place_and_no_content(tmp_path: Path) -> None:
    # Fails as deep as it can with the user's text in the message and in every frame.
    tmp_path.joinpath("sitecustomize.py").write_text(
        "import peerllm.peer.chat as chat\n"
        "render = chat.ChatTemplate.prompt\n"
        "def explode(self, turns, *rest):\n"
        "    if turns[0].content.startswith('Count'):\n"
        "        return render(self, turns, *rest)\n"
        "    raise RuntimeError('cannot render ' + turns[0].content)\n"
        "chat.ChatTemplate.prompt = explode\n"
    )
    process = RunningProcess({"PYTHONPATH": str(tmp_path)})
    process.send(load(embedded_model_path()))
    process.receive_until(Ready)
    process.send(submit(1, content=SECRET))
    crashed = process.receive()
    assert isinstance(crashed, Crashed)
    assert crashed.where == "RuntimeError:sitecustomize:6"
    code, printed = process.end()
    assert code == 70
    assert printed == b""


def test_garbage_ends_it_silently(process: RunningProcess) -> None:
    process.send_raw((len(SECRET)).to_bytes(4, "big") + SECRET.encode())
    assert process.end() == (0, b"")


def _digest(path: Path) -> bytes:
    return DigestCache(None).digest(path)
