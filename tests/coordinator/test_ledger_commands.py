"""`peerllm ledger` over real files: statements, a payout, its proof, the audit."""

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.log import create_log, open_log, read_entry
from peerllm.charter.store import found_network
from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.ledger_commands import ledger_app
from peerllm.coordinator.payout import DAY_US
from peerllm.coordinator.service import now_us
from peerllm.coordinator.settlement import ChunkWork, HostWork, Settlement, Shares, settle
from peerllm.coordinator.storage_file import StorageFile
from peerllm.crypto.identity import Identity

USD = 10**9
PAYER = ("--payer-name", "PeerLLM", "--payer-account", "DE89370400440532013000")


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A host of 40 days that is owed 57 dollars, and a newcomer that is owed as much."""
    data = tmp_path / "data"
    data.mkdir()
    for host, age in (("old", 40), ("new", 1)):
        begun = now_us() - age * DAY_US
        with StorageFile(data / "coordinator.sqlite", clock=lambda begun=begun: begun) as storage:
            storage.create_customer("ada")
            reference = f"wire [/{host}]"
            storage.deposit("customers/ada", 100 * USD, reference, tax=19 * USD, fee=3 * USD)
            work = ChunkWork(1, (HostWork(host, "leader", 9, 9, 9),))
            settlement = settle(60 * USD, Shares(9_500, 2_000), (work,))
            assert isinstance(settlement, Settlement)
            storage.reserve(host, "customers/ada", 60 * USD, key_id=None)
            storage.post(host, settlement, [SignedReceipt(host, bytes(16), b"signed")])
    return data


@pytest.fixture(scope="module")
def charter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("network")
    now = datetime.now(UTC)
    found_network(
        place / "charter",
        terms=first_terms("tests"),
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=place / "stewards",
        now=now,
        expires=now + timedelta(days=1),
    )
    return place / "charter"


@pytest.fixture
def run(books: Path, charter_folder: Path) -> Any:
    def command(name: str, *arguments: object, charter: bool = False) -> Result:
        line = [name, *map(str, arguments), "--data-directory", str(books)]
        if charter:
            line += ["--charter-directory", str(charter_folder)]
        return CliRunner().invoke(ledger_app, line)

    return command


def test_a_customer_sees_tax_and_the_processors_fee_on_lines_of_their_own(run: Any) -> None:
    shown = json.loads(run("statement", "--customer", "ada", "--json").stdout)
    assert shown["processor_fees_nano_usd"] == 6 * USD
    assert [line["tax_nano_usd"] for line in shown["deposits"]] == [19 * USD] * 2
    # The base is the charge: neither tax nor fee takes from what hosts get.
    assert (shown["charged_nano_usd"], shown["to_hosts_nano_usd"]) == (120 * USD, 114 * USD)
    assert shown["balance_nano_usd"] == 80 * USD
    text = run("statement", "--customer", "ada").stdout
    assert "Payment processor's fees, borne by the network" in text
    assert "6.00 USD" in text
    assert "wire [/old]" in text


def test_a_payout_its_statement_and_its_proof(run: Any, tmp_path: Path) -> None:
    assert (
        run("payee", "old", "--name", "Grace", "--account", "GB82WEST12345698765432").exit_code == 0
    )
    pay = ("payout", "2026-11", "--out", tmp_path / "out", *PAYER, "--json")
    first, again = (json.loads(run(*pay, charter=True).stdout) for _ in range(2))
    assert (first["paid_now"], again["paid_now"]) == (True, False)
    assert first["total_nano_usd"] == again["total_nano_usd"] == 57 * USD
    assert first["unpaid"] == {"new": "in escrow"}
    shown = json.loads(run("statement", "old", "--json", charter=True).stdout)
    assert (shown["paid_nano_usd"], shown["balance_nano_usd"]) == (57 * USD, 0)
    due = shown["payout_due_at_us"]
    assert now_us() + 28 * DAY_US < due <= now_us() + 30 * DAY_US
    assert (due % DAY_US, shown["payout_overdue_since_us"]) == (0, None)
    early = run(*("payout", "2026-12"), *pay[2:], charter=True)
    assert (early.exit_code, early.stdout) == (1, "")
    assert f"the next one from {datetime.fromtimestamp(due / 1e6, UTC):%Y-%m-%d}" in early.stderr
    waits = json.loads(run("statement", "new", "--json", charter=True).stdout)
    assert waits["in_escrow_nano_usd"] == 57 * USD
    assert waits["next_release_at_us"] > now_us() + 28 * DAY_US
    text = run("statement", "new", charter=True).stdout
    assert "Next release from escrow" in text
    assert "Next payout due" in text

    proof = tmp_path / "proof.json"
    assert run("prove", "old", "--batch", "2026-11", "--out", proof).exit_code == 0
    entry = tmp_path / "out" / "public" / "2026-11.entry.json"
    checked = CliRunner().invoke(
        ledger_app, ["prove", "--check", str(proof), "--entry", str(entry)]
    )
    assert checked.exit_code == 0, checked.output
    assert "batch 2026-11 pays old 57.00 USD" in checked.stdout
    (tmp_path / "disk.img").touch()
    os.truncate(tmp_path / "disk.img", 2**40)
    for options in (
        ("--check", tmp_path / "disk.img", "--entry", entry),
        ("--check", proof, "--entry", tmp_path / "disk.img"),
    ):
        refused = CliRunner().invoke(ledger_app, ["prove", *map(str, options)])
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "disk.img has more than" in refused.stderr
    proof.write_bytes(proof.read_bytes().replace(b"57000000000", b"67000000000"))
    forged = CliRunner().invoke(
        ledger_app, ["prove", "--check", str(proof), "--root", first["root"]]
    )
    assert forged.exit_code == 1
    assert "does not lead to root" in forged.stderr
    assert run("audit", "--root", f"2026-11={first['root']}").exit_code == 0
    rewritten = run("audit", "--root", f"2026-11={'0' * 64}")
    assert rewritten.exit_code == 1
    assert "the books were written anew" in rewritten.stderr


def test_a_payout_whose_files_cannot_be_written_says_what_was_paid(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("payee", "old", "--name", "Grace", "--account", "000123456").exit_code == 0
    (tmp_path / "file").touch()
    unpaid = run("payout", "2026-11", "--out", tmp_path / "file" / "out", *PAYER, charter=True)
    assert unpaid.exit_code == 1
    assert f"nothing was paid: {tmp_path / 'file'} is no folder" in unpaid.stderr
    assert json.loads(run("statement", "old", "--json", charter=True).stdout)["paid_nano_usd"] == 0

    def full(path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    pay = ("payout", "2026-11", "--out", tmp_path / "out", *PAYER)
    with monkeypatch.context() as patch:
        patch.setattr("peerllm.coordinator.payout_files.put_file", full)
        halfway = run(*pay, charter=True)
    assert halfway.exit_code == 1
    assert "batch 2026-11 is paid in the ledger, but not all of its files" in halfway.stderr
    again = run(*pay, charter=True)
    assert again.exit_code == 0
    assert "was made before; nothing was paid now" in again.stdout
    assert (tmp_path / "out" / "bank" / "2026-11.csv").exists()


def test_an_audit_holds_the_books_to_the_public_log(run: Any, tmp_path: Path) -> None:
    assert run("payee", "old", "--name", "Grace", "--account", "000123456").exit_code == 0
    pay = ("payout", "2026-11", "--out", tmp_path / "out", *PAYER)
    assert run(*pay, charter=True).exit_code == 0
    operator = Identity.from_seed(bytes(32))
    key = create_log(tmp_path / "log", "example.org/log", operator)
    (tmp_path / "log.vkey").write_text(str(key))
    options = ("--log", tmp_path / "log" / "public", "--log-key", tmp_path / "log.vkey")
    missing = run("audit", *options)
    assert missing.exit_code == 1
    assert "batch 2026-11 is in the books but not in the public log" in missing.stderr
    entry = read_entry((tmp_path / "out" / "public" / "2026-11.entry.json").read_bytes())
    other = msgspec.structs.replace(entry.body, batch="2026-10")
    with open_log(tmp_path / "log") as log:
        log.append([entry])
        log.publish(operator)
    assert run("audit", *options).exit_code == 0
    # Once more with the root of the books as they are: what was published before still binds.
    anew = msgspec.structs.replace(entry.body, root="0" * 64)
    (tmp_path / "anew").mkdir()
    create_log(tmp_path / "anew" / "log", "example.org/log", operator)
    with open_log(tmp_path / "anew" / "log") as log:
        log.append([msgspec.structs.replace(entry, body=anew), entry])
        log.publish(operator)
    twice = run(*("audit", "--log", tmp_path / "anew" / "log" / "public", *options[2:]))
    assert twice.exit_code == 1
    assert f"batch 2026-11 was published with root {'0' * 64}" in twice.stderr
    with open_log(tmp_path / "log") as log:
        log.append([msgspec.structs.replace(entry, body=other)])
        log.publish(operator)
    lost = run("audit", *options)
    assert lost.exit_code == 1
    assert "batch 2026-10 was published, but these books do not have it" in lost.stderr
    assert run("audit", "--log", tmp_path / "log" / "public").exit_code == 2


def test_an_audit_under_the_charter_says_which_payout_is_overdue(run: Any, books: Path) -> None:
    assert run("audit", charter=True).exit_code == 0
    then = now_us() - 100 * DAY_US
    with StorageFile(books / "coordinator.sqlite", clock=lambda: then) as storage:
        work = ChunkWork(1, (HostWork("late", "leader", 9, 9, 9),))
        settlement = settle(30 * USD, Shares(9_500, 2_000), (work,))
        assert isinstance(settlement, Settlement)
        storage.reserve("late", "customers/ada", 30 * USD, key_id=None)
        storage.post("late", settlement)
    # Nobody knows whom to pay.
    assert run("audit", charter=True).exit_code == 0
    assert run("payee", "late", "--name", "Ada", "--account", "000123456").exit_code == 0
    late = run("audit", charter=True)
    since = (then // DAY_US + 60) * DAY_US
    assert late.exit_code == 1
    day = f"{datetime.fromtimestamp(since / 1e6, UTC):%Y-%m-%d}"
    assert f"overdue: a payout to late since {day}" in late.stderr
    assert "the books are in order" in late.stdout
    shown = json.loads(run("audit", "--json", charter=True).stdout)
    assert (shown["well"], shown["faults"]) == (False, [])
    assert shown["payouts_overdue_since_us"] == {"late": since}
    assert "Payout overdue" in run("statement", "late", charter=True).stdout
    # Without the charter nobody is promised anything.
    assert json.loads(run("audit", "--json").stdout)["well"]


def test_an_audit_holds_the_books_to_a_head_noted_before(run: Any) -> None:
    report = json.loads(run("audit", "--json").stdout)
    assert report["well"]
    assert report["settlements"] == 2
    assert run("audit", "--head", report["head"]).exit_code == 0
    number, _, digest = report["head"].partition(":")
    for head, sentence in (
        (f"{number}:{'0' * 64}", "the books were written anew"),
        (f"{int(number) + 1}:{digest}", "books were cut off"),
    ):
        found = run("audit", "--head", head)
        assert found.exit_code == 1
        assert sentence in found.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("statement", "nobody"), 1, "nobody has never earned anything here"),
        (("statement", "--customer", "nobody"), 1, "there is no account customers/nobody"),
        (("statement",), 2, "one of them"),
        (("payee", "h1", "--name", "A", "--account", "1234"), 1, "h1 holds no seat here"),
        (("payee", "old", "--name", "A", "--account", "DE00370400440532013000"), 1, "check digits"),
        (("payee", "old", "--name", "A", "--account", "stra\xdfe1"), 1, "4 to 34 letters"),
        (("payee", "o\udcffd", "--name", "A", "--account", "1234"), 1, "is not UTF-8"),
        (("statement", "--customer", "a\udcff"), 1, "is not UTF-8"),
        (("payee", "unclaimed", "--name", "A", "--account", "1234"), 1, "cannot be a host"),
        (("payout", "a/b", "--out", "nowhere", *PAYER), 1, "cannot name a batch"),
        (("payout", "a", "--out", "nowhere", *PAYER, "--region", "No"), 1, "names no region"),
        (("prove", "old", "--batch", "none"), 1, "batch none pays old nothing"),
        (("audit", "--head", "x"), 2, "NUMBER:DIGEST"),
        (("audit", "--root", "a=b"), 2, "BATCH=ROOT"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    run: Any, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    needs_charter = arguments[0] == "payout" or arguments == ("statement", "nobody")
    found = run(*arguments, charter=needs_charter)
    assert found.exit_code == code, found.output
    assert sentence in " ".join(found.stderr.split())
    assert "Traceback" not in found.output


def test_a_folder_without_books_and_a_damaged_file_are_sentences(
    tmp_path: Path, books: Path
) -> None:
    missing = CliRunner().invoke(ledger_app, ["audit", "--data-directory", str(tmp_path / "no")])
    assert (missing.exit_code, "there are no books" in missing.stderr) == (1, True)
    file = books / "coordinator.sqlite"
    half = file.read_bytes()[: file.stat().st_size // 2 + 100]
    file.write_bytes(half)
    damaged = CliRunner().invoke(ledger_app, ["audit", "--data-directory", str(books)])
    assert damaged.exit_code == 1
    assert "Traceback" not in damaged.output


def test_a_proof_is_checked_where_there_is_no_database_software() -> None:
    code = (
        "import sys\n"
        "gone = ('sqlite_utils', 'outcome', 'sepaxml', 'starlette')\n"
        "sys.modules.update(dict.fromkeys(gone))\n"
        "import peerllm.coordinator.ledger_commands\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
