import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from typer.testing import CliRunner, Result

from peerllm.crypto.certificate import SealingCertificate, read_certificate
from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.envelope import EnvelopeBinding, seal
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt, verify_receipt
from peerllm.crypto.reply import ReplyOpener
from peerllm.overlay.account_messages import AccountAsked, AppealMade, StrikeTold
from peerllm.overlay.messages import (
    SESSION_PROTOCOL,
    ChatMessage,
    ChunkTask,
    Dispatch,
    Hello,
    Piece,
    ReceiptMessage,
    ReplyPiece,
    Slots,
    Welcome,
    host_message,
)
from peerllm.overlay.node import Stream, open_node
from peerllm.overlay.session import Session
from peerllm.peer.commands import host_app
from peerllm.peer.control_api import HostAccount, LogLines, Status
from peerllm.peer.control_client import ControlClient, ControlError
from peerllm.peer.earnings import Earnings
from peerllm.peer.models import EMBEDDED_MODEL
from tests.overlay.account_samples import ACCOUNT, AS_OF_US

COORDINATOR = Identity.from_seed(b"c" * 32)
HOST = [sys.executable, "-c", "from peerllm.peer.commands import host_app; host_app()"]
REPLY_KEY, NONCE, DISPATCH = b"r" * 32, b"n" * 16, b"d" * 16


def now_us() -> int:
    return time.time_ns() // 1000


def address(port: int = 1) -> str:
    return f"/ip4/127.0.0.1/tcp/{port}/p2p/{COORDINATOR.peer_id}"


def test_identity_is_created_once(tmp_path: Path) -> None:
    command = ["identity", "--data-directory", str(tmp_path / "host")]
    first, second = (CliRunner().invoke(host_app, command) for _ in range(2))
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    assert first.stdout.startswith("12D3Koo")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--coordinator", "nowhere"], "/p2p/PEER-ID"),
        (["--coordinator", address(), "--slots", "-1"], "slots must be from 0 to 64, got -1"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, options: list[str], said: str) -> None:
    command = ["run", "--data-directory", str(tmp_path), *options]
    done = CliRunner().invoke(host_app, command)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


YEAR_2099_US = 4_070_908_800_000_000
# Two strikes: against the first the time to appeal is over, against the second it is not.
TOLD = msgspec.structs.replace(
    ACCOUNT,
    strikes=[
        msgspec.structs.replace(ACCOUNT.strikes[0], number=6),
        StrikeTold(
            rule="wrong_model",
            at_us=AS_OF_US,
            appeal_until_us=YEAR_2099_US,
            weight=2,
            number=7,
        ),
    ],
)


class OneHost:
    """A coordinator that asks the first host to say hello one question."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.done = trio.Event()
        self.host = ""

    async def serve(self, stream: Stream) -> None:
        self.host = stream.peer_id
        session = Session(stream, host_message, self.on_message)
        self.session = session
        await session.run()

    def on_message(self, message: Any) -> None:
        self.received.append(message)
        if isinstance(message, Hello):
            self.session.post(
                Welcome(
                    coordinator=COORDINATOR.peer_id,
                    heartbeat_seconds=10,
                    tells_accounts=True,
                    takes_appeals=True,
                )
            )
            self.session.post(self.dispatch(message))
        if isinstance(message, AccountAsked):
            self.session.post(TOLD)
        if isinstance(message, AppealMade):
            strike = msgspec.structs.replace(TOLD.strikes[1], decide_by_us=YEAR_2099_US)
            self.session.post(msgspec.structs.replace(TOLD, strikes=[TOLD.strikes[0], strike]))
        if isinstance(message, ReceiptMessage):
            self.done.set()

    def dispatch(self, hello: Hello) -> Dispatch:
        certificate = read_certificate(
            hello.sealing_certificate, peer_id=self.host, now_us=now_us()
        )
        assert isinstance(certificate, SealingCertificate)
        (offer,) = hello.models
        self.binding = EnvelopeBinding(
            dispatch_id=DISPATCH,
            host=self.host,
            model_digest=offer.digest,
            expires_at_us=now_us() + 60_000_000,
            seed=7,
        )
        task = ChunkTask(
            messages=[ChatMessage(role="user", content="Say ZYXWVUT and count to ten.")],
            max_tokens=6,
            temperature_milli=800,
            top_p_milli=950,
            stop=[],
            assistant_prefix="",
            reply_key=REPLY_KEY,
        )
        return Dispatch(
            dispatch_id=DISPATCH,
            model_digest=offer.digest,
            expires_at_us=self.binding.expires_at_us,
            seed=7,
            nonce=NONCE,
            deadline_us=60_000_000,
            envelope=seal(self.binding, certificate.sealing_key, encode(task)),
        )

    async def slots(self, free: int) -> None:
        """Wait until so many slots are granted."""
        while [m.free for m in self.received if isinstance(m, Slots)][-1:] != [free]:
            await trio.sleep(0.01)

    def answer(self) -> tuple[int, str, str]:
        opener = ReplyOpener(REPLY_KEY, self.binding)
        tokens, text, finish = 0, "", ""
        for piece in self.received:
            if isinstance(piece, Piece):
                raw = opener.open(piece.sealed, final=piece.final)
                reply = decode(raw, ReplyPiece, maximum_bytes=1 << 20)
                tokens += len(reply.tokens)
                text += reply.text
                finish = reply.finish
        assert opener.finished
        return tokens, text, finish

    def receipt(self) -> Receipt:
        (message,) = [m for m in self.received if isinstance(m, ReceiptMessage)]
        receipt = verify_receipt(
            message.receipt,
            host=self.host,
            coordinator=COORDINATOR.peer_id,
            dispatch_id=DISPATCH,
            nonce=NONCE,
            model_digest=EMBEDDED_MODEL.digest,
            now_us=now_us(),
        )
        assert isinstance(receipt, Receipt)
        return receipt


def appeal(client: ControlClient, data_directory: Path) -> None:
    """Appeal against what may be appealed against, and nothing else."""

    def asked(strike: int) -> Result:
        command = ["appeal", str(strike), "--data-directory", str(data_directory)]
        return CliRunner().invoke(host_app, command)

    assert "the time to appeal against strike 6 ended on 2023-12-11" in asked(6).stderr
    assert "has told of no strike 9; it told of: 6, 7" in asked(9).stderr
    assert asked(0).exit_code == 2
    done = asked(7)
    assert (done.exit_code, "strike 7 went to the coordinator" in done.stdout) == (0, True)
    told = client.ask("GET", "/v1/account", HostAccount).account
    while told is None or told.strikes[1].decide_by_us != YEAR_2099_US:
        told = client.ask("GET", "/v1/account", HostAccount).account
    assert "was taken down already" in asked(7).stderr


def govern(data_directory: Path) -> None:
    """Look at the running host and pause it, as its owner would."""
    client = ControlClient(data_directory)
    status = client.status()
    while status.work.complete == 0:
        status = client.status()
    assert status.connected
    assert (status.state, status.holds) == ("serving", [])
    assert (status.slots, status.running) == (2, 0)
    assert [model.digest for model in status.models] == [status.model_digest]
    assert status.engine.state == "ready"
    assert status.work.receipts_signed == 1
    assert status.work.tokens_generated > 0
    assert min(status.bytes_received, status.bytes_sent) > 500
    (day,) = client.ask("GET", "/v1/earnings", Earnings).days
    assert (day.receipts, day.model_digest) == (1, EMBEDDED_MODEL.digest.hex())
    assert day.completion_tokens == status.work.tokens_generated
    told = client.ask("GET", "/v1/account", HostAccount)
    assert (told.account, told.told_at_us) == (TOLD, status.account_told_at_us)
    assert now_us() - 60_000_000 < told.told_at_us <= now_us()
    earned = ["earnings", "--data-directory", str(data_directory)]
    shown = CliRunner().invoke(host_app, [*earned, "--json"])
    assert json.loads(shown.stdout)["account"]["balance"] == ACCOUNT.balance
    table = CliRunner().invoke(host_app, earned).stdout
    assert "as the coordinator told it on" in table
    assert "peerllm host appeal 7" in " ".join(table.split())
    appeal(client, data_directory)
    # The lowest: anything may raise its level, and not everybody may lower it.
    wanted = ["limits", "--data-directory", str(data_directory), "--nice", "19"]
    assert "nice 19" in CliRunner().invoke(host_app, wanted).stdout
    events = client.events()
    assert next(events)[0] == "status"
    paused = CliRunner().invoke(host_app, ["pause", "--data-directory", str(data_directory)])
    assert paused.stdout.startswith("holding (paused), since ")
    assert any(name == "log" and json.loads(raw)["event"] == "holding" for name, raw in events)
    assert any(
        name == "status" and msgspec.json.decode(raw, type=Status).state == "holding"
        for name, raw in events
    )
    deadline = time.monotonic() + 60
    while client.status().engine.nice != 19:
        assert time.monotonic() < deadline
    for method, path, said in [
        ("GET", "/v1/absent", "there is no GET /v1/absent in version 1"),
        ("POST", "/v1/status", "there is no POST /v1/status in version 1"),
        ("PUT", "/v1/limits", "the body is not right"),
        ("POST", "/v1/drain", "the body is not right"),
    ]:
        with pytest.raises(ControlError, match=said):
            client.ask(method, path, Status, LogLines(lines=[]) if method != "GET" else None)
    with pytest.raises(ControlError, match="already runs"):
        start_once(data_directory)


def start_once(data_directory: Path) -> None:
    done = CliRunner().invoke(host_app, ["start", "--data-directory", str(data_directory)])
    assert done.exit_code == 1
    raise ControlError(done.stderr)


async def test_a_host_serves_the_real_model_over_the_real_network_and_stops_when_asked(
    tmp_path: Path,
) -> None:
    coordinator = OneHost()
    own = Identity.load_or_create(tmp_path / "identity").peer_id
    with trio.fail_after(60):
        async with open_node(
            COORDINATOR, listen="/ip4/127.0.0.1/tcp/0", admits=lambda peer: peer == own
        ) as node:
            serve: Callable[[Stream], Awaitable[None]] = coordinator.serve
            node.serve(SESSION_PROTOCOL, serve)
            process = subprocess.Popen(
                [
                    *HOST,
                    "run",
                    *("--data-directory", str(tmp_path)),
                    *("--coordinator", address(node.port or 0)),
                    *("--listen-address", "127.0.0.1"),
                    *("--slots", "2", "--context", "512", "--threads", "1"),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
            )
            try:
                await coordinator.done.wait()
                await trio.to_thread.run_sync(govern, tmp_path)
                await coordinator.slots(0)
                os.kill(process.pid, signal.SIGTERM)
                out, err = await trio.to_thread.run_sync(lambda: process.communicate(timeout=20))
            finally:
                process.kill()
    assert process.returncode == 0
    tokens, text, finish = coordinator.answer()
    receipt = coordinator.receipt()
    assert tokens == receipt.completion_tokens > 0
    assert finish in {"stop", "length"}
    assert receipt.outcome == "complete"
    assert receipt.prompt_tokens > 10
    assert 0 < receipt.first_token_us <= receipt.duration_us

    events = [json.loads(line) for line in err.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "starting"
    assert names[-1] == "stopped"
    assert {"listening", "engine_ready", "connected", "chunk_finished", "draining"} <= set(names)
    assert events[0]["peer_id"] == own
    assert out == ""
    assert "ZYXWVUT" not in err
    assert text not in err
