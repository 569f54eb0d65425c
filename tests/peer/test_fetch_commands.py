import _thread
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest
import trio
from click.testing import Result
from typer.testing import CliRunner

from peerllm.peer import fetch_commands
from peerllm.peer.control_api import Fault
from peerllm.peer.control_server import Broadcast, Request, Response, open_control
from peerllm.peer.control_server import Event as ServerEvent
from peerllm.peer.model_commands import model_app
from peerllm.peer.model_fetch_api import FetchRequest, FetchStatus

FETCHING = FetchStatus(
    state="fetching", wanted="tiny", name="tiny", file_bytes=100, done_bytes=40, holders=2
)
# More often than any test has its host asked.
ENDLESS = 500
STOPPED = msgspec.structs.replace(FETCHING, state="stopped")
COMPLETE = FetchStatus(
    state="complete", wanted="tiny", name="tiny", digest="ab" * 32, path="/models/tiny.gguf"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_commands, "_LOOK_SECONDS", 0.01)


@contextmanager
def host(
    directory: Path, *answers: FetchStatus | Fault, interrupt: bool = False
) -> Iterator[list[Request]]:
    """A host's control API that gives these answers, the last one until it is told to stop."""
    asked: list[Request] = []
    ready, over = Event(), Event()

    async def answer(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if interrupt and len(asked) == 1:
            _thread.interrupt_main()
        asked.append(request)
        given = answers[min(len(asked), len(answers)) - 1]
        if len(asked) > ENDLESS:
            given = Fault(error="asked without end")
        if request.path == "/v1/fetch/stop":
            given = STOPPED
        return Response(409 if isinstance(given, Fault) else 200, given)

    async def serve() -> None:
        greeting = ServerEvent("status", FETCHING)
        async with open_control(
            directory, answer, Broadcast(), lambda: greeting, process_id=os.getpid()
        ):
            ready.set()
            await trio.to_thread.run_sync(over.wait)

    thread = Thread(target=trio.run, args=(serve,))
    thread.start()
    ready.wait(10)
    try:
        yield asked
    finally:
        over.set()
        thread.join(10)


def fetch(directory: Path, model: str = "tiny") -> Result:
    return CliRunner().invoke(model_app, ["fetch", "--data-directory", str(directory), model])


def test_it_watches_the_host_fetch_and_says_where_the_file_is(tmp_path: Path) -> None:
    with host(tmp_path, FETCHING, FETCHING, COMPLETE) as asked:
        done = fetch(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"tiny {'ab' * 32}\n/models/tiny.gguf\n"
    assert [(request.method, request.path) for request in asked] == [
        ("POST", "/v1/fetch"),
        ("GET", "/v1/fetch"),
        ("GET", "/v1/fetch"),
    ]
    assert msgspec.json.decode(asked[0].body, type=FetchRequest) == FetchRequest(model="tiny")


def test_hosts_that_lied_are_mentioned(tmp_path: Path) -> None:
    with host(tmp_path, msgspec.structs.replace(COMPLETE, liars=2)):
        assert "2 dropped" in fetch(tmp_path).stdout


def test_why_it_failed_is_one_sentence(tmp_path: Path) -> None:
    failed = msgspec.structs.replace(FETCHING, state="failed", sentence="the disk is full")
    with host(tmp_path, FETCHING, failed):
        done = fetch(tmp_path)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "peerllm: the disk is full")
    with host(tmp_path, Fault(error="other is being fetched")):
        assert fetch(tmp_path).stderr == "peerllm: other is being fetched\n"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a shell takes from what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_stops_the_fetch_and_says_how_to_go_on(
    tmp_path: Path, interruptible: None
) -> None:
    with host(tmp_path, FETCHING, interrupt=True) as asked:
        done = fetch(tmp_path)
    assert (asked[-1].method, asked[-1].path) == ("POST", "/v1/fetch/stop")
    assert done.exit_code == 130
    assert "40 of 100 bytes" in done.stdout


def test_without_a_host_nothing_is_fetched(tmp_path: Path) -> None:
    assert "no host runs from" in fetch(tmp_path).stderr


@pytest.mark.parametrize("name", ["two words", "", "x" * 200, "tab\t"])
def test_a_name_that_cannot_be_one_is_refused_here(tmp_path: Path, name: str) -> None:
    with host(tmp_path, COMPLETE) as asked:
        done = fetch(tmp_path, name)
    assert done.exit_code == 1
    assert "no name of a model" in done.stderr
    assert asked == []
