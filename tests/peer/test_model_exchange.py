import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import DialError, FrameError, StreamClosed
from peerllm.overlay.framing import ByteStream, to_frame
from peerllm.overlay.messages import Introduce, ModelHolder, ModelHolders, ModelNotFound
from peerllm.overlay.model_exchange import HolderStream, serve_model
from peerllm.overlay.model_messages import MODEL_PROTOCOL, Denied, PieceAnswer
from peerllm.overlay.model_pieces import MAXIMUM_MODEL_BYTES, PIECE_BYTES, summarise
from peerllm.overlay.node import Node, Stream, open_node
from peerllm.peer import model_sharing
from peerllm.peer.bandwidth import Meter
from peerllm.peer.catalogue import LocalCatalogue
from peerllm.peer.model_exchange import ExchangeParts, ModelExchange, streams_under
from peerllm.peer.model_fetch_api import RUNNING
from peerllm.peer.model_sharing import Guests, SharedModels
from peerllm.privacy.event_log import EventLog
from tests.peer.exchange_stage import (
    NAME,
    PipeStream,
    SimulatedHolder,
    Ways,
    inline,
    model_file,
    pipe,
)

CONTENT = model_file(4)
FACTS = summarise(io.BytesIO(CONTENT).read)[0]
ANYWHERE = "/ip4/127.0.0.1/tcp/0"


class Host:
    """An exchange, its owner's choices, and a coordinator that says what the test wants."""

    def __init__(
        self, directory: Path, dial: Callable[[str], Awaitable[ByteStream]], port: int = 4001
    ) -> None:
        self.shares = self.holding = False
        self.cap = 0
        self.holders: list[ModelHolder] = []
        self.known, self.name = True, NAME
        self.told = 0
        self.directory = directory
        self.exchange = ModelExchange(
            ExchangeParts(
                data_directory=directory,
                dial=dial,
                port=lambda: port,
                shares=lambda: self.shares,
                holding=lambda: self.holding,
                bytes_per_second=lambda: self.cap,
                meter=Meter(lambda: self.cap),
                log=EventLog(lambda: 0, io.StringIO()),
            )
        )

    def find_model(self, wanted: str) -> bool:
        self.exchange.on_introduction(
            ModelHolders(
                wanted=wanted,
                name=self.name,
                digest=FACTS.digest,
                file_bytes=FACTS.file_bytes,
                list_digest=FACTS.list_digest,
                holders=self.holders,
            )
            if self.known
            else ModelNotFound(wanted=wanted, reason="unknown_model")
        )
        return True

    def sharing_changed(self) -> None:
        self.told += 1

    def add_model(self, name: str = NAME) -> Path:
        path = self.directory / "elsewhere.gguf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
        LocalCatalogue(self.directory).add(path, name)
        return path

    async def share(self) -> None:
        """Share, and wait until the file has been hashed."""
        self.shares = True
        self.exchange.limits_changed()
        while not self.told:
            await trio.sleep(0.01)

    async def ended(self) -> str:
        while self.exchange.status.state in RUNNING:
            await trio.sleep(0.01)
        return self.exchange.status.state


async def nobody(_address: str) -> ByteStream:
    await trio.lowlevel.checkpoint()
    raise DialError("nobody there")


@asynccontextmanager
async def running(host: Host) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.exchange.run, host)
        yield nursery
        nursery.cancel_scope.cancel()


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", inline)


@pytest.fixture
def host(tmp_path: Path, without_threads: None) -> Host:
    return Host(tmp_path / "host", nobody)


def introduced(guest: str, seconds: float = 900, digest: bytes = FACTS.digest) -> Introduce:
    return Introduce(peer_id=guest, digest=digest, valid_us=int(seconds * 1e6))


async def visit(host: Host, guest: str, nursery: trio.Nursery) -> HolderStream:
    """A guest's stream to the host."""
    here, there = pipe(guest)

    async def serve() -> None:
        try:
            await host.exchange.serve(there)
        except (StreamClosed, FrameError):
            pass
        finally:
            await there.close()

    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    return HolderStream(here, FACTS.digest)


async def first_piece(link: HolderStream) -> PieceAnswer | Denied:
    await link.ask(0)
    return await link.piece()


async def test_nothing_is_shared_until_the_owner_says_so(
    autojump_clock: MockClock, host: Host
) -> None:
    host.add_model()
    async with running(host):
        await trio.sleep(60)
        assert host.exchange.sharing() is None
        host.exchange.on_introduction(introduced("guest"))
        assert not host.exchange.admits("guest")
        await host.share()
        sharing = host.exchange.sharing()
        assert sharing is not None
        assert (sharing.port, sharing.digests) == (4001, [FACTS.digest])
        assert host.exchange.admits("guest")
        host.shares = False
        host.exchange.limits_changed()
        await trio.sleep(1)
        assert (host.exchange.sharing(), host.told) == (None, 2)
        assert not host.exchange.admits("guest")


async def test_only_who_was_introduced_is_served_and_only_as_long(
    autojump_clock: MockClock, host: Host
) -> None:
    host.add_model()
    async with running(host) as nursery:
        await host.share()
        host.exchange.on_introduction(introduced("guest", seconds=30))
        host.exchange.on_introduction(introduced("other", digest=bytes(32)))
        for stranger in ("stranger", "other"):
            refused = await first_piece(await visit(host, stranger, nursery))
            assert refused == Denied(reason="not_introduced")
        link = await visit(host, "guest", nursery)
        assert await link.pieces() == summarise(io.BytesIO(CONTENT).read)[1].hashes
        assert await first_piece(link) == PieceAnswer(index=0, data=CONTENT[:PIECE_BYTES])
        await trio.sleep(31)
        assert await first_piece(link) == Denied(reason="not_introduced")
        assert not host.exchange.admits("guest")


async def test_guests_are_turned_away_when_the_host_is_busy_or_holds(
    autojump_clock: MockClock, host: Host
) -> None:
    host.add_model()
    async with running(host) as nursery:
        await host.share()
        for guest in "abcde":
            host.exchange.on_introduction(introduced(guest))
        links = [await visit(host, guest, nursery) for guest in "aabcde"]
        # One stream for each guest, four at most.
        answers = [await first_piece(link) for link in links]
        busy = [answer == Denied(reason="busy") for answer in answers]
        assert busy == [False, True, False, False, False, True]
        await links[0].close()
        await wait_all_tasks_blocked()
        assert isinstance(await first_piece(await visit(host, "e", nursery)), PieceAnswer)
        host.holding = True
        await links[2].close()
        refused = await first_piece(await visit(host, "a", nursery))
        assert refused == Denied(reason="busy")
        # Nor does one who came before get another piece.
        assert await first_piece(links[3]) == Denied(reason="busy")


async def test_a_file_that_was_altered_is_not_sent(autojump_clock: MockClock, host: Host) -> None:
    path = host.add_model()
    async with running(host) as nursery:
        await host.share()
        host.exchange.on_introduction(introduced("guest"))
        path.write_bytes(b"!" + CONTENT[1:])
        link = await visit(host, "guest", nursery)
        assert await first_piece(link) == Denied(reason="not_here")
        # Soon it is not offered either.
        await trio.sleep(60)
        assert host.exchange.sharing() is None


async def test_a_file_that_is_not_what_the_catalogue_says_is_not_offered(
    autojump_clock: MockClock, host: Host, tmp_path: Path
) -> None:
    path = host.add_model()
    path.write_bytes(CONTENT[:-1] + b"!")
    shared = SharedModels(host.directory)
    assert not await shared.look(share=True)
    path.unlink()
    assert not await shared.look(share=True)
    (host.directory / "models.json").write_text("{damaged")
    assert not await shared.look(share=True)
    assert await shared.hashes(FACTS.digest) is None
    assert await shared.piece(FACTS.digest, 0) is None


async def test_a_file_too_large_to_be_shared_is_not_read_again_and_again(
    autojump_clock: MockClock, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = host.add_model()
    # All holes: it takes no room.
    os.truncate(path, MAXIMUM_MODEL_BYTES + 1)
    read: list[object] = []
    monkeypatch.setattr(model_sharing, "_summary_of", read.append)
    host.shares = True
    async with running(host):
        await trio.sleep(100)
    assert not read
    os.truncate(path, len(CONTENT))
    async with running(host):
        await trio.sleep(1)
    assert len(read) == 1


async def test_a_piece_beyond_the_file_is_not_there(autojump_clock: MockClock, host: Host) -> None:
    host.add_model()
    shared = SharedModels(host.directory)
    assert await shared.look(share=True)
    assert await shared.piece(FACTS.digest, 3) == CONTENT[3 * PIECE_BYTES :]
    assert await shared.piece(FACTS.digest, 4) is None


@pytest.mark.parametrize(
    "raw", [b"", b"\x80", b"\xc1", bytes(300), to_frame(b"\x81\xa4type\xa5piece")[4:]]
)
async def test_garbage_ends_the_stream(autojump_clock: MockClock, host: Host, raw: bytes) -> None:
    here, there = pipe("guest")
    host.shares = True
    host.exchange.on_introduction(introduced("guest"))
    await here.write(to_frame(raw))
    with pytest.raises(FrameError):
        await host.exchange.serve(there)


async def test_a_guest_that_asks_nothing_is_let_go(autojump_clock: MockClock, host: Host) -> None:
    _, there = pipe("guest")
    began = trio.current_time()
    with pytest.raises(StreamClosed, match="silent"):
        await host.exchange.serve(there)
    assert trio.current_time() - began <= 60


def test_a_full_book_of_guests_forgets_who_has_least_time_left() -> None:
    now = [0.0]
    guests = Guests(lambda: now[0])
    for number in range(2000):
        guests.admit(introduced(f"guest{number}", seconds=100 + number))
    assert not guests.admits("guest975")
    assert guests.admits("guest976")
    assert guests.admits("guest1999", FACTS.digest)
    assert not guests.admits("guest1999", bytes(32))
    guests.admit(introduced("forever", seconds=1e9))
    now[0] = 3601
    assert not guests.admits("forever")


@pytest.mark.parametrize(("cap", "streams"), [(0, 4), (64 * 1024, 1), (256 * 1024, 2), (10**9, 4)])
def test_a_low_cap_has_room_for_fewer_streams(cap: int, streams: int) -> None:
    assert streams_under(cap) == streams


def fetching_from(directory: Path, nursery: trio.Nursery, *holders: SimulatedHolder) -> Host:
    """A host that finds these holders."""
    there = {Identity.from_seed(bytes([n]) * 32).peer_id: one for n, one in enumerate(holders)}

    async def serve(holder: SimulatedHolder, stream: PipeStream) -> None:
        try:
            await serve_model(stream, holder, admits=lambda _digest: True)
        except (StreamClosed, FrameError):
            pass
        finally:
            await stream.close()

    async def dial(address: str) -> ByteStream:
        await trio.lowlevel.checkpoint()
        ours, theirs = pipe()
        nursery.start_soon(serve, there[address.rpartition("/p2p/")[2]], theirs)
        return ours

    host = Host(directory, dial)
    address = "/ip4/192.0.2.7/tcp/4001"
    host.holders = [ModelHolder(peer_id=peer_id, address=address) for peer_id in there]
    return host


async def test_a_fetched_model_is_in_the_catalogue_and_can_be_shared_at_once(
    autojump_clock: MockClock, without_threads: None, tmp_path: Path
) -> None:
    async with trio.open_nursery() as holders:
        host = fetching_from(tmp_path, holders, SimulatedHolder(CONTENT))
        host.shares = True
        async with running(host):
            assert host.exchange.status.state == "none"
            assert host.exchange.start(NAME) == ""
            assert host.exchange.start(NAME) == ""
            assert "is being fetched" in host.exchange.start("another")
            assert await host.ended() == "complete"
            status = host.exchange.status
            assert (status.name, status.digest) == (NAME, FACTS.digest.hex())
            assert status.done_bytes == status.file_bytes == len(CONTENT)
            await trio.sleep(1)
            sharing = host.exchange.sharing()
            assert sharing is not None
            assert sharing.digests == [FACTS.digest]
            # Again costs nothing: it is here.
            assert host.exchange.start(NAME) == ""
            assert await host.ended() == "complete"
            assert host.exchange.status.path == status.path
        holders.cancel_scope.cancel()
    digest, model = LocalCatalogue(tmp_path).find(NAME)
    assert (digest, model.path) == (FACTS.digest.hex(), status.path)


async def test_a_damaged_model_is_mended_by_fetching_it(
    autojump_clock: MockClock, without_threads: None, tmp_path: Path
) -> None:
    async with trio.open_nursery() as holders:
        host = fetching_from(tmp_path, holders, SimulatedHolder(CONTENT))
        damaged = host.add_model()
        damaged.write_bytes(CONTENT[:-1] + b"!")
        async with running(host):
            host.exchange.start(NAME)
            assert await host.ended() == "complete"
        holders.cancel_scope.cancel()
    (model,) = LocalCatalogue(tmp_path).models().values()
    assert model.name == NAME
    assert Path(model.path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("taken", "wanted", "entered"),
    [
        (NAME, NAME, f"{NAME}-{FACTS.digest.hex()[:12]}"),
        ("other", "../a name/", "..-a-name-"),
        ("other", "n" * 128, "n" * 100),
    ],
)
async def test_a_name_that_is_taken_or_no_name_here_becomes_one(
    autojump_clock: MockClock,
    without_threads: None,
    tmp_path: Path,
    taken: str,
    wanted: str,
    entered: str,
) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(model_file(1))
    LocalCatalogue(tmp_path).add(other, taken)
    async with trio.open_nursery() as holders:
        host = fetching_from(tmp_path, holders, SimulatedHolder(CONTENT))
        host.name = wanted
        async with running(host):
            host.exchange.start("model")
            assert await host.ended() == "complete"
        holders.cancel_scope.cancel()
    model = LocalCatalogue(tmp_path).models()[FACTS.digest.hex()]
    assert model.name == entered
    assert Path(model.path).parent == tmp_path / "models"


async def test_a_fetch_can_be_stopped_at_any_time_and_says_why_it_failed(
    autojump_clock: MockClock, without_threads: None, tmp_path: Path
) -> None:
    async with trio.open_nursery() as holders:
        host = fetching_from(tmp_path, holders, SimulatedHolder(CONTENT, "silent"))
        async with running(host):
            for pause in (0, 0.5, 30):
                host.exchange.start(NAME)
                await trio.sleep(pause)
                host.exchange.stop()
                assert await host.ended() == "stopped"
            host.known = False
            host.exchange.start("mystery")
            assert await host.ended() == "failed"
            assert "no model called 'mystery'" in host.exchange.status.sentence
            host.exchange.stop()
            assert host.exchange.status.state == "failed"
        holders.cancel_scope.cancel()


async def test_half_of_the_owner_s_cap_is_left_for_answers(
    autojump_clock: MockClock, without_threads: None, tmp_path: Path
) -> None:
    async with trio.open_nursery() as holders:
        honest = [SimulatedHolder(CONTENT) for _ in range(3)]
        host = fetching_from(tmp_path, holders, *honest)
        host.cap = PIECE_BYTES
        async with running(host):
            began = trio.current_time()
            host.exchange.start(NAME)
            assert await host.ended() == "complete"
            took = trio.current_time() - began
        holders.cancel_scope.cancel()
    # The file at half a piece a second, less one burst.
    assert 2 * len(CONTENT) / PIECE_BYTES - 1 < took < 2 * len(CONTENT) / PIECE_BYTES + 2


async def unintroduced(node: Node, address: str) -> None:
    with pytest.raises(DialError):
        await node.dial(address, MODEL_PROTOCOL)


async def test_real_hosts_exchange_a_model_over_libp2p(tmp_path: Path) -> None:
    """One holder vanishes, the fetch is stopped and taken up again; then one sends garbage."""
    names = ("honest", "garbage", "vanishing", "fetcher", "stranger")
    identities = {name: Identity.generate() for name in names}
    simulated: dict[str, SimulatedHolder] = {}

    async def serve(ways: Ways, stream: Stream) -> None:
        await serve_model(stream, simulated[ways], admits=lambda _digest: True)

    def admits(name: str, peer_id: str) -> bool:
        if name == "honest":
            return honest.exchange.admits(peer_id)
        return peer_id == identities["fetcher"].peer_id

    with trio.fail_after(60):
        async with (
            open_node(
                identities["honest"], listen=ANYWHERE, admits=partial(admits, "honest")
            ) as honest_node,
            open_node(
                identities["garbage"], listen=ANYWHERE, admits=partial(admits, "garbage")
            ) as garbage_node,
            open_node(
                identities["vanishing"], listen=ANYWHERE, admits=partial(admits, "vanishing")
            ) as vanishing_node,
            open_node(identities["fetcher"], listen=None, admits=lambda _: False) as node,
            open_node(identities["stranger"], listen=None, admits=lambda _: False) as stranger,
        ):

            async def dial(address: str) -> ByteStream:
                return await node.dial(address, MODEL_PROTOCOL)

            def holder(of: Node) -> ModelHolder:
                address = f"/ip4/127.0.0.1/tcp/{of.port}"
                return ModelHolder(peer_id=of.peer_id, address=address)

            honest = Host(tmp_path / "honest", nobody, honest_node.port or 0)
            fetcher = Host(tmp_path / "fetcher", dial)
            honest.add_model()
            simulated["false_piece"] = SimulatedHolder(CONTENT, "false_piece")
            simulated["vanishing"] = SimulatedHolder(CONTENT, "vanishing", life=1)
            honest_node.serve(MODEL_PROTOCOL, honest.exchange.serve)
            garbage_node.serve(MODEL_PROTOCOL, partial(serve, "false_piece"))
            vanishing_node.serve(MODEL_PROTOCOL, partial(serve, "vanishing"))
            async with running(honest), running(fetcher):
                await honest.share()
                fetcher.holders = [holder(vanishing_node)]
                fetcher.exchange.start(NAME)
                while fetcher.exchange.status.done_bytes < PIECE_BYTES:
                    await trio.sleep(0.01)
                fetcher.exchange.stop()
                assert await fetcher.ended() == "stopped"

                # Whoever was not introduced gets no stream at all.
                await unintroduced(stranger, honest_node.addresses[0])
                await unintroduced(node, honest_node.addresses[0])
                honest.exchange.on_introduction(introduced(identities["fetcher"].peer_id))
                fetcher.holders = [holder(garbage_node), holder(honest_node)]
                fetcher.exchange.start(NAME)
                assert await fetcher.ended() == "complete"
                status = fetcher.exchange.status
    assert Path(status.path).read_bytes() == CONTENT
    # Unless the honest one was so quick that nothing was left to ask.
    assert status.liars == bool(simulated["false_piece"].asked)
    assert 0 not in simulated["false_piece"].asked
    assert LocalCatalogue(tmp_path / "fetcher").verify(FACTS.digest.hex())
