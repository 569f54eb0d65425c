"""`peerllm region` over a real charter and a real database, at times long past."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from region_stage import SIGNER, USD, Clock, Region
from typer.testing import CliRunner

from peerllm.charter.commands import charter_app
from peerllm.charter.defaults import (
    FIRST_MODEL,
    first_catalogue,
    first_standard,
    first_tariff,
    first_terms,
)
from peerllm.charter.documents import document_name, read_document, write_document
from peerllm.charter.founding import found_files
from peerllm.charter.region_record import (
    LocalCapacity,
    RegionDecision,
    RegionRecord,
    RegionStep,
)
from peerllm.charter.region_rules import month_bounds, region_change_faults
from peerllm.charter.seat_rules import DAY_US
from peerllm.coordinator.region_commands import region_app
from peerllm.coordinator.storage_file import StorageFile
from peerllm.crypto.identity import Identity
from peerllm.crypto.keyfiles import create_seed_file

KEY = SIGNER.public_key.hex()
RULE = first_terms("example").federation
HOSTS = [f"host-{number:02}" for number in range(50)]
DIGEST = first_catalogue().models[FIRST_MODEL].digest
FIRST_DOCUMENTS = {
    f"{document_name(type(document))}.json": write_document(document)
    for document in (
        first_terms("example"),
        first_tariff(),
        first_catalogue(),
        first_standard(),
    )
}
STEPS: tuple[RegionStep, ...] = ("open", "activate", "federate")


def record(name: str, *steps: RegionStep) -> RegionRecord:
    """A region that took these steps at the beginning of 2020."""
    at_us = month_bounds("2020-01")[0]
    federated = steps[-1] == "federate"
    status = {"open": "local", "activate": "active", "federate": "federated"}.get(steps[-1])
    return RegionRecord(
        name=name,
        version=len(steps),
        status=status or "suspended",
        since_us=at_us,
        # In brackets: terminals' markup looks like this, and must not swallow it.
        contact=f"hosts [at] {name}.example",
        delegated_keys=(KEY,) if federated else (),
        delegated_threshold=1 if federated else 0,
        decisions=tuple(
            RegionDecision(step=step, decided_at_us=at_us, reason="as decided") for step in steps
        ),
    )


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A charter with regions of every kind, and half a year of work in one of them.

    January: five hosts. February to April: fifty for USD 50,000. May to July: ten.
    """
    folder = tmp_path_factory.mktemp("network")
    regions = (
        record("bavaria", "open", "activate"),
        record("alps", "open", "activate", "federate"),
        record("coast", "open"),
        record("delta", "open", "suspend"),
    )
    found_files(
        folder / "public",
        files=FIRST_DOCUMENTS
        | {f"regions/{region.name}.json": write_document(region) for region in regions},
        steward_keys_directory=folder / "keys",
        now=datetime(2020, 1, 1, tzinfo=UTC),
        expires=datetime(2090, 1, 1, tzinfo=UTC),
    )
    (folder / "data").mkdir(mode=0o700)
    database = folder / "data" / "coordinator.sqlite"
    stage = Region(database, Clock(month_bounds("2020-01")[0]), digest=DIGEST)
    stage.seat(HOSTS)
    stage.month("2020-01", HOSTS[:5], 1_000 * USD)
    for month in ("2020-02", "2020-03", "2020-04"):
        stage.month(month, HOSTS, 50_000 * USD)
    for month in ("2020-05", "2020-06", "2020-07"):
        stage.month(month, HOSTS[:10], 5_000 * USD)
    stage.name = "coast"
    stage.seat(["coast-host"])
    return folder


@pytest.fixture
def network(founded: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(founded, tmp_path / "network"))


def run(network: Path, command: str, *arguments: object, at: str | None = "2020-05-05") -> Result:
    given = [command, *(str(argument) for argument in arguments)]
    given += ["--data-directory", str(network / "data")]
    given += ["--charter-directory", str(network / "public")]
    return CliRunner(env={"COLUMNS": "250"}).invoke(
        region_app, given if at is None else [*given, "--at", at]
    )


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result: Result, says: str) -> None:
    assert result.exit_code == 1, result.output
    sentences = [line for line in result.stderr.splitlines() if not line.startswith("Trusting")]
    assert len(sentences) == 1, result.stderr
    assert says in sentences[0]


def test_list_shows_every_region_and_the_last_full_month(founded: Path) -> None:
    shown = answer(run(founded, "list", "--json"))
    assert [(one["region"], one["status"]) for one in shown["regions"]] == [
        ("alps", "federated"),
        ("bavaria", "active"),
        ("coast", "local"),
        ("delta", "suspended"),
    ]
    bavaria = shown["regions"][1]
    assert (bavaria["month"], bavaria["active_hosts"]) == ("2020-04", 50)
    assert bavaria["revenue_nano_usd"] == 50_000 * USD
    assert "USD 50,000.00" in run(founded, "list").stdout


def test_check_finds_three_months_over_and_shows_the_rows(founded: Path, tmp_path: Path) -> None:
    result = run(founded, "check", "bavaria", "--rows", tmp_path / "rows", "--json")
    shown = answer(result)
    assert (shown["well"], shown["due"]) == (True, "federate")
    assert [month["month"] for month in shown["months"]] == ["2020-02", "2020-03", "2020-04"]
    for month, file in zip(shown["months"], shown["files"], strict=True):
        raw = Path(file).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == month["rows_sha256"]
        assert raw.count(b"\nday,") == 500
    assert "federate" in run(founded, "check", "bavaria").stdout


def test_check_of_a_month_too_few_is_not_well(founded: Path) -> None:
    for at in ("2020-04-30", "2020-06-01"):
        result = run(founded, "check", "bavaria", "--json", at=at)
        assert result.exit_code == 1
        shown = json.loads(result.stdout)
        assert (shown["well"], shown["due"]) == (False, None)
        assert "a federated region needs USD 50,000.00 and 50" in shown["reasons"][0]


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ("coast", "an active region needs 5"),
        ("delta", "stewards may activate it again"),
        ("alps", "below what it must keep"),
    ],
)
def test_check_says_why_a_region_is_not_well(founded: Path, region: str, says: str) -> None:
    result = run(founded, "check", region)
    assert result.exit_code == 1
    assert says in result.stdout


def test_status_shows_the_decisions(founded: Path) -> None:
    shown = answer(run(founded, "status", "alps", "--json"))
    assert msgspec.convert(shown, RegionRecord) == record("alps", *STEPS)
    text = run(founded, "status", "alps").stdout
    contact = "hosts [at] alps.example"
    for words in ("federated since 2020-01-01", contact, f"1 of {KEY}", "as decided"):
        assert words in text


def draft(network: Path, region: str) -> RegionRecord:
    raw = (network / "new" / "regions" / f"{region}.json").read_bytes()
    return read_document(raw, RegionRecord)


def step(network: Path, command: str, *arguments: object, at: str = "2020-05-05") -> Result:
    return run(network, command, *arguments, "--documents", network / "new", at=at)


def test_federation_is_drafted_with_the_figures_it_rests_on(network: Path) -> None:
    before = (network / "public" / "metadata" / "timestamp.json").read_bytes()
    result = step(network, "federate", "bavaria", "--region-key", KEY)
    assert result.exit_code == 0, result.output
    after = draft(network, "bavaria")
    assert (after.status, after.version, after.delegated_keys) == ("federated", 3, (KEY,))
    assert [month.active_hosts for month in after.decisions[-1].figures] == [50, 50, 50]
    assert (network / "public" / "metadata" / "timestamp.json").read_bytes() == before


def test_a_community_is_opened_and_a_suspended_region_comes_back(network: Path) -> None:
    assert step(network, "open", "elbe", "--contact", "hosts@elbe.example").exit_code == 0
    assert draft(network, "elbe").status == "local"
    refused(step(network, "activate", "delta"), "give --reason")
    assert step(network, "activate", "delta", "--reason", "They answer again.").exit_code == 0
    assert draft(network, "delta").status == "active"


def test_notice_is_drafted_when_three_months_were_below(network: Path) -> None:
    assert step(network, "notice", "alps").exit_code == 0
    notice = draft(network, "alps").notice
    assert notice is not None
    assert notice.earliest_return_us - notice.given_at_us == 90 * DAY_US
    assert step(network, "suspend", "alps", "--reason", "Nobody answers.").exit_code == 0
    assert draft(network, "alps").delegated_keys == ()


def test_a_lost_key_and_an_old_contact_are_replaced_without_a_step(network: Path) -> None:
    fresh = "cd" * 32
    wanted = ("--contact", "alps@example.org", "--region-key", fresh)
    assert step(network, "change", "alps", *wanted).exit_code == 0
    after = draft(network, "alps")
    assert (after.contact, after.delegated_keys) == ("alps@example.org", (fresh,))
    assert after.decisions == record("alps", *STEPS).decisions
    assert list(region_change_faults(record("alps", *STEPS), after, RULE, 0)) == []
    refused(step(network, "change", "bavaria", "--region-key", fresh), "has delegated keys")
    refused(step(network, "change", "alps", "--threshold", 2), "2 of 1 delegated keys")
    assert step(network, "change", "alps").exit_code == 2


@pytest.mark.parametrize(
    ("command", "arguments", "at", "says"),
    [
        ("federate", ("bavaria", "--region-key", KEY), "2020-06-01", "2020-05 had USD 5,000.00"),
        ("federate", ("bavaria", "--region-key", "zz" * 32), "2020-05-05", "is no key"),
        ("federate", ("bavaria", "--region-key", "/nowhere"), "2020-05-05", "cannot be read"),
        (
            "federate",
            ("bavaria", "--region-key", KEY, "--threshold", 2),
            "2020-05-05",
            "2 of 1 delegated keys cannot be a threshold",
        ),
        ("federate", ("coast", "--region-key", KEY), "2020-05-05", "cannot be taken from there"),
        ("activate", ("bavaria",), "2020-05-05", "the figures allow is the step 'federate'"),
        ("activate", ("coast",), "2020-05-05", "2020-04 had 0 active hosts"),
        ("notice", ("bavaria",), "2020-05-05", "cannot be taken from there"),
        ("return", ("alps",), "2020-05-05", "the figures allow is the step 'give-notice'"),
        ("open", ("bavaria", "--contact", "c"), "2020-05-05", "has a record already"),
        ("open", ("../x", "--contact", "c"), "2020-05-05", "cannot name a region"),
        ("open", ("elbe", "--contact", " "), "2020-05-05", "contact is blank"),
        ("open", ("elbe", "--contact", "c" * 501), "2020-05-05", "region:"),
        ("suspend", ("nowhere", "--reason", "r"), "2020-05-05", "no region 'nowhere'"),
        ("suspend", ("delta", "--reason", "r"), "2020-05-05", "cannot be taken from there"),
        ("suspend", ("bavaria", "--reason", ""), "2020-05-05", "region:"),
        ("suspend", ("bavaria", "--reason", " "), "2020-05-05", "'suspend' is blank"),
    ],
)
def test_a_step_the_rule_forbids_is_refused_and_drafts_nothing(
    founded: Path, command: str, arguments: tuple[object, ...], at: str, says: str
) -> None:
    refused(step(founded, command, *arguments, at=at), says)
    assert not (founded / "new").exists()


def test_seats_are_offered_by_the_rule_and_stay(network: Path) -> None:
    [before] = answer(run(network, "seats", "bavaria", "--json"))["models"]
    assert (before["model"], before["held"], before["offered"]) == (FIRST_MODEL, 50, 0)
    assert (before["by_the_rule"], len(before["busiest_hours_us"])) == (3, 14)
    [after] = answer(run(network, "seats", "bavaria", "--apply", "--json"))["models"]
    assert (after["offered"], after["by_the_rule"], after["held"]) == (3, 3, 50)
    assert FIRST_MODEL in run(network, "seats", "bavaria").stdout
    refused(run(network, "seats", "delta", "--apply"), "suspended: it offers no new seats")


def test_only_a_federated_region_drafts_its_capacity(network: Path) -> None:
    out = network / "capacity.json"
    ask = ("--set", f"{FIRST_MODEL}=40", "--utilisation", 70, "--out", out)
    refused(run(network, "seats", "bavaria", *ask), "only a federated region")
    for wrong in (f"{FIRST_MODEL}=-1", f"{FIRST_MODEL}=", "40", f"{FIRST_MODEL}=1e3"):
        refused(run(network, "seats", "alps", "--set", wrong, "--out", out), "MODEL=SEATS")
    refused(run(network, "seats", "alps", "--set", "gpt=1", "--out", out), "no model 'gpt'")
    refused(run(network, "seats", "alps", "--out", out), "names no model")
    assert not out.exists()
    assert run(network, "seats", "alps", *ask).exit_code == 0
    capacity = read_document(out.read_bytes(), LocalCapacity)
    assert (capacity.seats, capacity.version) == ({FIRST_MODEL: 40}, 1)
    assert capacity.target_utilisation_basis_points == 7_000


def test_a_federated_region_signs_and_offers_its_own_seats(network: Path) -> None:
    out, signed, public = network / "c.json", network / "signed.json", network / "public"
    assert run(network, "seats", "alps", "--set", f"{FIRST_MODEL}=40", "--out", out).exit_code == 0
    create_seed_file(network / "alps.key", SIGNER.seed)
    files = (str(public), str(out), str(signed))
    for step_of in (("sign", "--key", "alps.key"), ("publish", "--online-key", "keys/online.key")):
        given = ["capacity", step_of[0], *files, step_of[1], str(network / step_of[2])]
        result = CliRunner().invoke(charter_app, [*given, "--at", "2020-05-05"])
        assert result.exit_code == 0, result.output
    [model] = answer(run(network, "seats", "alps", "--json"))["models"]
    assert (model["offered"], model["held"]) == (40, 0)
    refused(run(network, "seats", "alps", "--apply"), "has set its own seats")
    again = network / "again.json"
    assert run(network, "seats", "alps", "--utilisation", 80, "--out", again).exit_code == 0
    capacity = read_document(again.read_bytes(), LocalCapacity)
    assert (capacity.version, capacity.seats) == (2, {FIRST_MODEL: 40})


def test_a_paused_host_is_shown_with_its_way_back(network: Path) -> None:
    def act(*arguments: object) -> Result:
        given = [*(str(argument) for argument in arguments), "--data-directory"]
        return CliRunner().invoke(region_app, [*given, str(network / "data")])

    paused = act("pause", "host-07", "--reason", "errors", "--days", 3)
    assert paused.exit_code == 0, paused.output
    assert "mend what fails" in paused.stdout
    shown = answer(run(network, "seats", "bavaria", "--json", at=None))
    assert [(one["peer_id"], one["reason"]) for one in shown["paused"]] == [("host-07", "errors")]
    assert (shown["models"][0]["held"], shown["models"][0]["paused"]) == (50, 1)
    assert "mend what fails" in run(network, "seats", "bavaria", at=None).stdout
    assert act("resume", "host-07").exit_code == 0
    refused(act("resume", "host-07"), "is not paused")
    refused(act("pause", "nobody", "--reason", "slow"), "holds no seat")
    assert act("pause", "host-07", "--reason", "ugly").exit_code == 2
    (network / "data" / "coordinator.sqlite").unlink()
    refused(act("resume", "host-07"), "no coordinator's database")


def test_the_waiting_list_gives_free_seats_in_order(network: Path) -> None:
    hosts = [Identity.from_seed(bytes([number]) * 32).peer_id for number in range(1, 6)]

    def join(peer: str, operator: str) -> Any:
        ask = ("--add", peer, "--operator", operator, "--model", FIRST_MODEL)
        return run(network, "waiting", "coast", *ask, "--json")

    for number, peer in enumerate(hosts):
        answer(join(peer, f"operator-{number}"))
    assert len(answer(join(hosts[0], "operator-0"))["waiting"]) == 5
    # Three seats, one of which is held.
    answer(run(network, "seats", "coast", "--apply", "--json"))
    line = answer(run(network, "waiting", "coast", "--offer", "--json"))["waiting"]
    assert [one["peer_id"] for one in line if one["offered_at_us"]] == hosts[:2]
    refused(run(network, "waiting", "coast", "--accept", hosts[2]), "has no offer")
    assert run(network, "waiting", "coast", "--accept", hosts[0]).exit_code == 0
    refused(join(hosts[0], "operator-0"), "holds a seat")
    # The second offer is not taken up: after a fortnight the next in line gets it.
    late = run(network, "waiting", "coast", "--accept", hosts[1], at="2020-05-19")
    refused(late, "has lapsed after 14 days")
    line = answer(run(network, "waiting", "coast", "--offer", "--json", at="2020-05-19"))["waiting"]
    assert [one["peer_id"] for one in line] == hosts[2:]
    assert [one["peer_id"] for one in line if one["offered_at_us"]] == [hosts[2]]
    assert run(network, "waiting", "coast", "--remove", hosts[3]).exit_code == 0
    refused(run(network, "waiting", "coast", "--remove", hosts[3]), "is not in line")
    answer(join(hosts[3], "co-op [north]"))
    text = run(network, "waiting", "coast").stdout
    assert hosts[4][:12] in text
    assert "co-op [north]" in text
    with StorageFile(network / "data" / "coordinator.sqlite") as storage:
        assert [seat.operator for seat in storage.seats() if seat.peer_id == hosts[0]] == [
            "operator-0"
        ]


def test_bad_input_to_the_waiting_list_changes_nothing(network: Path) -> None:
    def join(*arguments: object) -> Result:
        return run(network, "waiting", "coast", "--add", *arguments)

    peer = SIGNER.peer_id
    refused(join("no peer", "--operator", "o", "--model", FIRST_MODEL), "peer id")
    refused(join(peer, "--operator", "o", "--model", "gpt"), "no model 'gpt'")
    refused(join(peer, "--operator", "\n", "--model", FIRST_MODEL), "an operator")
    assert join(peer).exit_code == 2
    assert run(network, "waiting", "coast", "--offer", "--accept", peer).exit_code == 2
    refused(run(network, "waiting", "delta", "--offer"), "suspended")
    assert answer(run(network, "waiting", "coast", "--json"))["waiting"] == []


def test_what_is_damaged_or_unknown_is_refused_with_one_sentence(network: Path) -> None:
    refused(run(network, "check", "nowhere"), "no region 'nowhere'")
    refused(run(network, "check", "../data"), "cannot name a region")
    # The machine's clock stands a day before the charter's own.
    refused(run(network, "check", "bavaria", at="2019-12-31"), "set the clock")
    database = network / "data" / "coordinator.sqlite"
    database.write_bytes(database.read_bytes()[:70_000])
    refused(run(network, "list"), "coordinator.sqlite")
    database.unlink()
    refused(run(network, "list"), "coordinator.sqlite")
    [region] = (network / "public" / "targets" / "regions").glob("*.bavaria.json")
    region.write_bytes(region.read_bytes()[:100])
    refused(run(network, "list"), "bavaria.json")


def test_operators_of_a_region_advise_the_stewards(network: Path) -> None:
    hosts = [Identity.load_or_create(network / f"identity-{number}") for number in range(3)]
    with StorageFile(
        network / "data" / "coordinator.sqlite", clock=lambda: month_bounds("2020-05")[0]
    ) as storage:
        for host, operator in zip(hosts, ("ada", "ada", "ben"), strict=True):
            storage.seat(host.peer_id, operator, "community", [DIGEST], region="bavaria")
    assert step(network, "suspend", "bavaria", "--reason", "To try it.").exit_code == 0
    draft_folder = network / "draft"

    def charter(*arguments: object) -> None:
        given = [str(argument) for argument in arguments]
        result = CliRunner().invoke(charter_app, [*given, "--at", "2020-05-05"])
        assert result.exit_code == 0, result.output

    def vote(*arguments: object, at: str = "2020-05-06") -> Result:
        given = ["vote", "bavaria", str(draft_folder), *(str(one) for one in arguments)]
        return CliRunner().invoke(region_app, [*given, "--at", at])

    def key(number: int) -> Path:
        return network / "keys" / f"steward-{number}.key"

    proposal = (network / "public", draft_folder, "--summary", "Suspend")
    charter("propose", *proposal, "--key", key(1), "--documents", network / "new")
    ours = ("--choice", "yes", "--identity", network / "identity-0")
    refused(vote(*ours), "nobody has seconded")
    charter("second", draft_folder, "--key", key(2))
    assert vote(*ours).exit_code == 0
    refused(vote(*ours), "this host has voted")
    refused(vote("--choice", "no", "--identity", network / "none"), "no identity file")
    assert vote("--choice", "no", "--identity", network / "identity-2").exit_code == 0
    late = ("--choice", "no", "--identity", network / "identity-1")
    refused(vote(*late, at="2020-05-19"), "the time to vote is over")

    counted = answer(run(network, "vote", "bavaria", draft_folder, "--json", at="2020-06-01"))
    assert counted["by_choice"] == {"yes": ["ada"], "no": ["ben"], "abstain": []}
    # The fifty simulated hosts are of one operator each.
    assert counted["operators"] == 52
    [file, _] = (draft_folder / "region-votes").glob("*.json")
    file.write_bytes(file.read_bytes()[:-20])
    refused(run(network, "vote", "bavaria", draft_folder, at="2020-06-01"), "region-vote")
    assert vote("--choice", "yes").exit_code == 2
