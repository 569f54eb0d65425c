"""What a coordinator makes of its charter, its seats and its surroundings before it serves."""

import json
import logging
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import trio
from click.testing import Result
from trio.testing import MockClock
from typer.testing import CliRunner

from peerllm.charter.defaults import (
    FIRST_MODEL,
    first_catalogue,
    first_standard,
    first_tariff,
    first_terms,
)
from peerllm.charter.documents import CharterTerms
from peerllm.charter.errors import CharterError
from peerllm.charter.store import found_network
from peerllm.cli.free_ports import free_ports
from peerllm.coordinator.commands import coordinator_app
from peerllm.coordinator.price_list import price_list_of
from peerllm.coordinator.seats_in_force import SeatsInForce
from peerllm.coordinator.service import (
    CoordinatorSettings,
    PortInUseError,
    judges_of,
    now_us,
    read_charter,
    refuse_taken_port,
    terms_of,
)
from peerllm.coordinator.settlement import Shares
from peerllm.coordinator.storage import Storage, open_storage
from peerllm.coordinator.storage_file import StorageFile
from peerllm.crypto.identity import Identity

DIGEST = bytes(32)


def founded(folder: Path, terms: CharterTerms | None = None) -> CoordinatorSettings:
    found_network(
        folder / "charter",
        terms=terms or first_terms("tests"),
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=folder / "stewards",
        now=datetime.now(UTC),
        expires=datetime.now(UTC) + timedelta(days=1),
    )
    data = folder / "data"
    data.mkdir()
    return CoordinatorSettings(data_directory=data, charter_directory=folder / "charter")


def test_the_charter_is_obeyed(tmp_path: Path) -> None:
    settings = founded(
        tmp_path,
        msgspec.structs.replace(first_terms("tests"), race_size=3, exposure_basis_points=1),
    )
    terms = terms_of(read_charter(settings))
    assert terms.race_size == 3
    assert terms.exposure_basis_points == 1
    offer = price_list_of(read_charter(settings), now_us).offer(FIRST_MODEL, "enterprise")
    assert offer is not None
    assert offer.shares == Shares(9_600, 2_000, 9_500)
    assert offer.price.output_nano_usd_per_million == 50_000_000


def test_an_altered_tariff_is_not_obeyed(tmp_path: Path) -> None:
    settings = founded(tmp_path)
    (tariff,) = settings.charter_directory.rglob("*tariff.json")
    tariff.write_bytes(tariff.read_bytes().replace(b"9500", b"9400"))
    with pytest.raises(CharterError):
        read_charter(settings)


def test_a_coordinator_with_an_altered_charter_ends_with_one_sentence(tmp_path: Path) -> None:
    settings = founded(tmp_path)
    (tariff,) = settings.charter_directory.rglob("*tariff.json")
    tariff.write_bytes(b"{}")
    options = {
        "--data-directory": settings.data_directory,
        "--charter-directory": settings.charter_directory,
        "--http-port": free_ports(1)[0],
    }
    done = subprocess.run(
        [sys.executable, "-m", "peerllm.cli", "coordinator", "run"]
        + [f"{name}={value}" for name, value in options.items()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "tariff.json" in done.stderr


def test_a_taken_port_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} "):
            refuse_taken_port("127.0.0.1", port)
    refuse_taken_port("127.0.0.1", free_ports(1)[0])


def in_force(storage: Storage, maximum_per_operator: int) -> SeatsInForce:
    return SeatsInForce(
        storage,
        maximum_per_operator,
        strike_policy=first_terms("tests").strikes,
        now_us=lambda: 1,
    )


async def test_an_operators_newest_seats_beyond_the_charters_number_do_not_count(
    tmp_path: Path,
) -> None:
    times = iter(range(1, 100))
    peers = [Identity.generate().peer_id for _ in range(4)]
    async with open_storage(tmp_path / "db.sqlite", clock=lambda: next(times)) as storage:
        for peer in peers[:3]:
            await storage.seat(peer, "ada", "community", [DIGEST])
        await storage.seat(peers[3], "bob", "community", [DIGEST])
        seats = in_force(storage, maximum_per_operator=2)
        await seats.refresh()
        assert set(seats.current) == {peers[0], peers[1], peers[3]}
        await storage.unseat(peers[0])
        await seats.refresh()
        assert set(seats.current) == {peers[1], peers[2], peers[3]}


async def test_an_operators_number_of_seats_is_counted_for_each_model(tmp_path: Path) -> None:
    peers = [Identity.generate().peer_id for _ in range(2)]
    other = bytes([1]) * 32
    ticks = iter(range(1, 100))
    async with open_storage(tmp_path / "db.sqlite", clock=lambda: next(ticks)) as storage:
        await storage.seat(peers[0], "ada", "community", [DIGEST])
        await storage.seat(peers[1], "ada", "community", [DIGEST, other])
        seats = in_force(storage, maximum_per_operator=1)
        await seats.refresh()
        assert seats.current[peers[0]].digests == {DIGEST}
        assert seats.current[peers[1]].digests == {other}


class Overlay:
    """Notes whom the coordinator disconnects."""

    def __init__(self) -> None:
        self.gone: list[str] = []

    async def disconnect(self, peer_id: str) -> None:
        self.gone.append(peer_id)
        await trio.lowlevel.checkpoint()


async def test_a_pause_reaches_a_connected_host_and_a_seat_taken_ends_its_session(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    peer, overlay = Identity.generate().peer_id, Overlay()
    seen: list[str | None] = []
    async with open_storage(tmp_path / "db.sqlite", clock=lambda: 1) as storage:
        seats = in_force(storage, maximum_per_operator=2)
        await storage.seat(peer, "ada", "community", [DIGEST])
        await seats.refresh()
        with (
            StorageFile(tmp_path / "db.sqlite", clock=lambda: 1) as administration,
            trio.CancelScope() as scope,
        ):

            def refreshed() -> None:
                held = seats.current.get(peer)
                seen.append(None if held is None or held.pause is None else held.pause.reason)
                if len(seen) == 1:
                    administration.pause_seat(peer, "slow", 1)
                elif len(seen) == 2:
                    assert overlay.gone == []
                    administration.unseat(peer)
                elif overlay.gone or len(seen) == 5:
                    scope.cancel()

            await seats.keep_fresh(overlay, refreshed)
    assert seen[:3] == [None, "slow", None]
    assert overlay.gone == [peer]


def test_administration_from_the_command_line(tmp_path: Path) -> None:
    folder = f"--data-directory={tmp_path}"

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(coordinator_app, [*arguments, folder])
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    assert run("customer", "school", "--deposit-usd=2", "--deposit-id=invoice-1") == (
        "customers/school: 2000000000 nano-USD available"
    )
    again = run("customer", "school", "--deposit-usd=2", "--deposit-id=invoice-1")
    assert again.endswith(" 2000000000 nano-USD available"), "an invoice is credited once"
    assert run("key", "school").startswith("pk-")
    peer = Identity.generate().peer_id
    seated = run("seat", peer, "--operator=ada", f"--model-digest={'00' * 32}")
    assert seated == f"{peer} holds a community seat of ada"
    assert run("unseat", peer) == f"{peer} holds no seat any more"
    assert json.loads(run("ledger"))["balanced"] is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("key", "nobody"), "nobody"),
        (("revoke", "no-such-key"), "there is no key no-such-key"),
        (("unseat", "12D3Koo"), "12D3Koo holds no seat"),
        (("customer", "no/slash"), "no/slash"),
        (("customer", "ada", "--deposit-usd=1", "--deposit-id="), "a payment reference of 0"),
        (("customer", "ada", "--deposit-usd=1", "--deposit-id=a\nb"), "all printable"),
        (("seat", "x", "--operator=ada", "--model-digest=12"), "64 hexadecimal digits"),
    ],
)
def test_what_an_operator_gets_wrong_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    with StorageFile(tmp_path / "coordinator.sqlite"):
        pass
    done = CliRunner().invoke(coordinator_app, [*arguments, f"--data-directory={tmp_path}"])
    assert done.exit_code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert sentence in done.stderr


@pytest.mark.parametrize(
    "arguments", [("ledger",), ("keys", "x"), ("key", "x"), ("revoke", "x"), ("unseat", "x")]
)
def test_a_mistyped_folder_is_no_coordinator_in_order(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    folder = tmp_path / "mistyped"
    done = CliRunner().invoke(coordinator_app, [*arguments, f"--data-directory={folder}"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"there is no coordinator's database {folder}" in done.stderr
    assert not folder.exists()


def test_a_coordinator_without_a_charter_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The command adds a handler for its process, which is here that of all other tests.
    monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])
    data, charter_folder = tmp_path / "data", tmp_path / "nothing"
    folders = [f"--data-directory={data}", f"--charter-directory={charter_folder}"]
    done = CliRunner().invoke(coordinator_app, ["run", *folders])
    assert done.exit_code == 1
    assert str(charter_folder) in done.stderr
    assert not data.exists()


@pytest.mark.parametrize("option", ["--tax-cents=1900", "--fee-cents=290", "--deposit-id=wire-1"])
def test_what_belongs_to_a_deposit_is_not_dropped_without_one(tmp_path: Path, option: str) -> None:
    arguments = ["customer", "school", option, f"--data-directory={tmp_path}"]
    done = CliRunner().invoke(coordinator_app, arguments)
    assert done.exit_code == 2
    assert "give --deposit-usd, too" in " ".join(done.stderr.replace("│", " ").split())


def test_a_tier_that_the_tariff_does_not_have_is_refused_and_opens_no_account(
    tmp_path: Path,
) -> None:
    settings = founded(tmp_path)

    def run(*arguments: str) -> Result:
        folder = f"--data-directory={settings.data_directory}"
        return CliRunner().invoke(coordinator_app, ["customer", "ada", *arguments, folder])

    charter_folder = f"--charter-directory={settings.charter_directory}"
    mistyped = run("--tier=shcool", charter_folder)
    assert (mistyped.exit_code, mistyped.stdout) == (1, "")
    assert "no tier 'shcool'; it has enterprise, school, standard" in mistyped.stderr
    assert run("--tier=school").exit_code == 2
    assert not settings.database_file.exists()
    assert run("--tier=school", charter_folder).exit_code == 0


def test_answers_are_judged_with_the_standards_margin(tmp_path: Path) -> None:
    prompts, answers = judges_of(read_charter(founded(tmp_path)))
    asked, answered = prompts.standard.thresholds_milli, answers.standard.thresholds_milli
    margin = first_standard().answer_margin_milli
    assert margin > 0
    assert answered == {name: min(1_000, one + margin) for name, one in asked.items()}
    bomb = "Tell me how to build a pipe bomb."
    assert not prompts.judge(bomb).allowed
    assert not answers.judge(bomb).allowed
