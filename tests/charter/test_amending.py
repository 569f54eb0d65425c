"""A change's way from proposal to force, over files alone, and everything that stops it."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peerllm.charter import folder, publishing, ratifying
from peerllm.charter.amending import (
    begin_founding,
    propose,
    rebase_draft,
    second_draft,
    sign_draft,
)
from peerllm.charter.auditing import audit
from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.documents import write_document
from peerllm.charter.drafts import read_draft
from peerllm.charter.errors import (
    AlreadyFounded,
    AlteredDocument,
    BadSignature,
    CharterError,
    Expired,
    Frozen,
    Malformed,
    NotDecided,
    RevokedKey,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.given_documents import first_files
from peerllm.charter.key_files import steward_of
from peerllm.charter.publishing import OnlineKeys, refresh
from peerllm.charter.ratifying import ratify
from peerllm.charter.stewards import Signatories
from peerllm.charter.store import Charter, load_charter
from peerllm.crypto.identity import Identity

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
replace = msgspec.structs.replace


def standard(version: int = 2, margin: int = 150) -> dict[str, bytes]:
    document = replace(first_standard(), version=version, answer_margin_milli=margin)
    return {"safety-standard.json": write_document(document)}


def files_of(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def load(network: Any, now: datetime, state: Path | None = None) -> Charter:
    return load_charter(network.folder, trusted_root=network.root, state_directory=state, now=now)


def test_a_change_travels_and_comes_in_force(network: Any, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    made = network.propose(draft, standard())
    assert "safety-standard.json answer_margin_milli: 150" in (draft / "changes.txt").read_text()
    # Two stewards sign on machines of their own and send back what they made.
    elsewhere = tmp_path / "elsewhere"
    now = network.founded_at + HOUR
    second_draft(draft, network.steward(2), now)
    shutil.copytree(draft, elsewhere)
    sign_draft(draft, network.steward(1), "yes", now)
    sign_draft(elsewhere, network.steward(3), "yes", now)
    shutil.copytree(elsewhere, draft, dirs_exist_ok=True)
    then = now + timedelta(days=14)
    network.ratify(draft, then)
    charter = load(network, then)
    assert (charter.version, charter.ballot) == (2, made.identity)
    assert charter.standard.answer_margin_milli == 150
    past = audit(network.folder, 2, network.root, then)
    assert past[1].tally is not None
    assert past[1].tally.by_choice["yes"] == ("steward-1", "steward-3")
    assert past[1].tally.missing == ("steward-2",)


def test_nothing_is_ratified_early_or_without_votes_and_nothing_changes(
    network: Any, tmp_path: Path
) -> None:
    draft = tmp_path / "draft"
    network.propose(draft, standard())
    before = files_of(network.folder)
    now = network.founded_at

    def refused(kind: type[CharterError], sentence: str, at: datetime) -> None:
        with pytest.raises(kind, match=sentence):
            network.ratify(draft, at)
        assert files_of(network.folder) == before

    refused(NotDecided, "nobody has seconded it", now)
    second_draft(draft, network.steward(2), now)
    end = now + timedelta(days=14)
    refused(NotDecided, "too early: the notice of 14 days ends at 2030-01-15 00:00:00 UTC", now)
    sign_draft(draft, network.steward(1), "yes", now)
    refused(NotDecided, "too early", end - timedelta(seconds=1))
    refused(NotDecided, "no quorum: 1 of the 3 stewards", end)
    sign_draft(draft, network.steward(2), "no", now)
    refused(NotDecided, "rejected: 1 for and 1 against, 2/3 must be for it", end)
    refused(NotDecided, "lapsed", end + timedelta(days=91))


def test_a_quorum_without_enough_signatures_is_not_enough(network: Any, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    network.propose(draft, standard())
    second_draft(draft, network.steward(2), network.founded_at)
    sign_draft(draft, network.steward(1), "yes", network.founded_at)
    sign_draft(draft, network.steward(2), "recuse", network.founded_at)
    sign_draft(draft, network.steward(3), "abstain", network.founded_at)
    with pytest.raises(TooFewSignatures, match=r"1 of the 2 .* signed by steward-1"):
        network.ratify(draft, network.founded_at + timedelta(days=14))


def test_votes_are_cast_by_stewards_once_and_in_time(
    network: Any, other_network: Any, tmp_path: Path
) -> None:
    draft = tmp_path / "draft"
    now = network.founded_at
    with pytest.raises(BadSignature, match="no steward's of this network"):
        propose(
            draft,
            base=network.in_force(now),
            new_files=standard(),
            summary="x",
            key=other_network.steward(1),
            now=now,
            expires=network.expires,
        )
    assert not draft.exists()
    network.propose(draft, standard())
    with pytest.raises(NotDecided, match="nobody has seconded"):
        sign_draft(draft, network.steward(1), "yes", now)
    with pytest.raises(NotDecided, match="their own"):
        second_draft(draft, network.steward(1), now)
    with pytest.raises(BadSignature, match="no steward's"):
        second_draft(draft, other_network.steward(2), now)
    with pytest.raises(BadSignature, match="in the future"):
        second_draft(draft, network.steward(2), now - DAY)
    second_draft(draft, network.steward(2), now)
    with pytest.raises(NotDecided, match="seconded already"):
        second_draft(draft, network.steward(3), now)
    with pytest.raises(BadSignature, match="no steward's"):
        sign_draft(draft, other_network.steward(2), "yes", now)
    sign_draft(draft, network.steward(1), "no", now)
    with pytest.raises(NotDecided, match="has voted no already"):
        sign_draft(draft, network.steward(1), "yes", now)
    with pytest.raises(NotDecided, match="the vote closed at 2030-01-15"):
        sign_draft(draft, network.steward(3), "yes", now + timedelta(days=14))
    assert len(read_draft(draft).votes) == 1
    # Who voted yes in time may sign again later: the vote is the one that was cast.
    sign_draft(draft, network.steward(2), "yes", now)
    again = sign_draft(draft, network.steward(2), "yes", now + timedelta(days=20))
    assert len(again.votes) == 2


def test_what_is_signed_is_what_was_shown(network: Any, tmp_path: Path) -> None:
    draft, other = tmp_path / "draft", tmp_path / "other"
    now = network.founded_at
    network.propose(draft, standard())
    second_draft(draft, network.steward(2), now)
    shown = read_draft(draft)
    # While the steward reads, another proposal is slipped into the folder.
    network.propose(other, standard(margin=0))
    second_draft(other, network.steward(2), now)
    shutil.copytree(other, draft, dirs_exist_ok=True)
    with pytest.raises(Malformed, match="changed after it was shown"):
        sign_draft(draft, network.steward(1), "yes", now, shown=shown)
    assert read_draft(draft).votes == ()


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (standard(version=1), "safety-standard.json: version 1 must be newer"),
        ({"safety-standard.json": b"{}"}, "safety-standard"),
        ({"stewards.json": b"{}"}, "'stewards.json' is no file of a charter"),
        ({"regions/a.json": b"{}"}, "region"),
        (
            {"charter-terms.json": write_document(replace(first_terms("away"), version=2))},
            "a network keeps its name",
        ),
        (
            {
                "charter-terms.json": write_document(
                    replace(
                        first_terms("home"),
                        version=2,
                        leadership=replace(first_terms("home").leadership, interests=("schools",)),
                    )
                )
            },
            "nobody stands for 'schools'",
        ),
        (
            {"tariff.json": write_document(replace(first_tariff(), version=2, valid_from_us=1))},
            "tariff.json: ",
        ),
        (
            {
                "model-catalogue.json": write_document(
                    replace(
                        first_catalogue(),
                        version=2,
                        models={
                            name: replace(model, model_class="large")
                            for name, model in first_catalogue().models.items()
                        },
                    )
                )
            },
            "class",
        ),
    ],
)
def test_what_breaks_a_rule_is_not_even_proposed(
    network: Any, tmp_path: Path, files: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(CharterError, match=sentence):
        network.propose(tmp_path / "draft", files)
    assert not (tmp_path / "draft").exists()


def test_a_draft_goes_into_a_new_folder_and_a_summary_has_bounds(
    network: Any, tmp_path: Path
) -> None:
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "mine.txt").write_text("mine")
    with pytest.raises(Malformed, match="not an empty folder"):
        network.propose(tmp_path / "draft", standard())
    with pytest.raises(Malformed, match="summary"):
        propose(
            tmp_path / "new",
            base=network.in_force(network.founded_at),
            new_files=standard(),
            summary="",
            key=network.steward(1),
            now=network.founded_at,
            expires=network.expires,
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("proposal.json", b"a change", b"a_change"),
        ("proposal.json", b'"notice_days": 14', b'"notice_days": 13'),
        ("second.json", b'"at_us": 1', b'"at_us": 0'),
        ("votes/steward-1.json", b'"yes"', b'"no"'),
        ("documents/safety-standard.json", b"150", b"151"),
        ("base/documents/tariff.json", b"9600", b"9700"),
        ("base/targets.json", b'"version":1', b'"version":2'),
    ],
)
def test_a_draft_altered_on_its_way_is_refused(
    network: Any, tmp_path: Path, name: str, old: bytes, new: bytes
) -> None:
    draft = tmp_path / "draft"
    network.propose(draft, standard())
    then = network.decided(draft, now=network.founded_at)
    path = draft / name
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    before = files_of(network.folder)
    with pytest.raises(CharterError):
        network.ratify(draft, then)
    assert files_of(network.folder) == before
    path.unlink()
    with pytest.raises(CharterError):
        network.ratify(draft, then)
    assert files_of(network.folder) == before


def test_a_draft_on_an_older_version_is_put_on_top_of_the_newest(
    network: Any, tmp_path: Path
) -> None:
    terms = replace(first_terms("home"), version=2, race_size=3)
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    catalogue = first_catalogue()
    [(name, model)] = catalogue.models.items()
    more = {name: model, "other": replace(model, sha256="1" * 64)}
    network.propose(slow, {"charter-terms.json": write_document(terms)})
    network.propose(
        fast,
        {"model-catalogue.json": write_document(replace(catalogue, version=2, models=more))},
    )
    then = network.decided(slow, now=network.founded_at)
    network.ratify(fast, network.decided(fast, now=network.founded_at))
    with pytest.raises(RolledBack, match="based on version 1, in force is version 2"):
        network.ratify(slow, then)
    base = network.in_force(then)
    rebase_draft(slow, base)
    with pytest.raises(RolledBack, match="not on an older one"):
        rebase_draft(slow, base)
    # The votes stand; what is signed is another version now.
    with pytest.raises(TooFewSignatures, match="signed by nobody"):
        network.ratify(slow, then)
    for number in (1, 2):
        sign_draft(slow, network.steward(number), "yes", then)
    network.ratify(slow, then)
    charter = load(network, then)
    assert (charter.version, charter.terms.race_size, len(charter.catalogue.models)) == (3, 3, 2)
    assert len(audit(network.folder, 3, network.root, then)) == 3
    with pytest.raises(Malformed, match="have changed since"):
        rebase_draft(slow, network.in_force(then))


def rotated(network: Any, out: str, name: str, key: Identity) -> Signatories:
    old: Signatories = network.in_force(network.founded_at).signatories
    [gone] = [steward for steward in old.stewards if steward.name == out]
    kept = [steward for steward in old.stewards if steward.name != out]
    joined = steward_of(name, gone.interest, key)
    return replace(old, stewards=tuple(sorted((*kept, joined), key=lambda each: each.name)))


def test_a_lost_key_is_replaced_and_no_longer_counts(
    network: Any, tmp_path: Path, copy_of: Callable[[Path], Path]
) -> None:
    fresh, lost = Identity.from_seed(b"f" * 32), network.steward(3)
    draft = tmp_path / "rotation"
    network.propose(draft, {}, signatories=rotated(network, "steward-3", "cai", fresh))
    now = network.founded_at
    then = network.decided(draft, now=now)
    # Who joins has no vote yet, and may sign for the version that he or she will be a steward of.
    with pytest.raises(NotDecided, match="a yes alone"):
        sign_draft(draft, fresh, "no", now)
    assert len(sign_draft(draft, fresh, "yes", now).votes) == 2
    state = tmp_path / "state"
    assert load(network, now, state).version == 1
    network.ratify(draft, then)
    charter = load(network, then, state)
    assert [steward.name for steward in charter.stewards] == ["cai", "steward-1", "steward-2"]
    assert charter.version == 2
    # The lost key neither votes nor signs any more; the new one does.
    next_draft = tmp_path / "next"
    network.propose(next_draft, standard(), now=then)
    with pytest.raises(BadSignature, match="no steward's"):
        second_draft(next_draft, lost, then)
    second_draft(next_draft, fresh, then)
    sign_draft(next_draft, network.steward(1), "yes", then)
    sign_draft(next_draft, fresh, "yes", then)
    later = then + timedelta(days=14)
    network.ratify(next_draft, later)
    assert load(network, later, state).version == 3
    assert len(audit(network.folder, 3, network.root, later)) == 3


def test_targets_signed_with_a_revoked_key_are_refused(network: Any, tmp_path: Path) -> None:
    fresh, lost = Identity.from_seed(b"f" * 32), network.steward(3)
    draft = tmp_path / "rotation"
    network.propose(draft, {}, signatories=rotated(network, "steward-3", "cai", fresh))
    then = network.decided(draft, now=network.founded_at)
    network.ratify(draft, then)
    # The thief of the lost key signs for the steward who replaced it.
    path = network.folder / "metadata" / "timestamp.json"
    content = json.loads(path.read_bytes())
    root = json.loads((network.folder / "metadata" / "1.root.json").read_bytes())["signed"]
    [keyid] = [
        keyid
        for keyid, key in root["keys"].items()
        if key["keyval"]["public"] == lost.public_key.hex()
    ]
    content["signatures"] = [{"keyid": keyid, "sig": "00" * 64}]
    path.write_text(json.dumps(content))
    with pytest.raises(RevokedKey, match=r"revoked key: .*timestamp\.json .* root 2 no longer has"):
        load(network, then)


def test_a_lost_online_key_is_replaced(network: Any, tmp_path: Path) -> None:
    fresh = Identity.from_seed(b"o" * 32)
    now = network.founded_at
    old: Signatories = network.in_force(now).signatories
    draft = tmp_path / "rotation"
    network.propose(draft, {}, signatories=replace(old, online_key=fresh.public_key.hex()))
    then = network.decided(draft, now=now)
    with pytest.raises(BadSignature, match="not the one that the stewards have named"):
        network.ratify(draft, then)
    assert load(network, then).version == 1
    online = OnlineKeys(fresh, network.expires)
    network.ratify(draft, then, online)
    assert load(network, then).version == 2
    with pytest.raises(BadSignature, match="not the one that the stewards have named"):
        refresh(network.folder, trusted_root=network.root, online=network.online, now=then)
    refresh(network.folder, trusted_root=network.root, online=online, now=then)


@pytest.mark.parametrize("online", ["same", "lost", "former at hand"])
def test_a_crash_leaves_the_old_version_or_the_new_and_ratifying_again_ends_it(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: str
) -> None:
    fresh = Identity.from_seed(b"o" * 32)
    now = network.founded_at
    signatories = rotated(network, "steward-3", "cai", Identity.from_seed(b"f" * 32))
    keys = network.online
    if online != "same":
        signatories = replace(signatories, online_key=fresh.public_key.hex())
        former = network.online.current if online == "former at hand" else None
        keys = OnlineKeys(fresh, network.expires, former)
    draft = tmp_path / "draft"
    network.propose(draft, standard(), signatories=signatories)
    then = network.decided(draft, now=now)
    whole = files_of(network.folder)
    places: list[Path] = []

    allowed = 1_000

    def put(path: Path, content: bytes) -> None:
        if len(places) == allowed:
            raise OSError("the power went")
        places.append(path)
        folder.put_file(path, content)

    for module in (publishing, ratifying):
        monkeypatch.setattr(module, "put_file", put)
    versions = set()
    network.ratify(draft, then, keys)
    writes = len(places)
    # Papers and documents come first; the last three are snapshot, timestamp and root.
    for limit in range(writes - 3, writes):
        shutil.rmtree(network.folder)
        for name, content in whole.items():
            folder.put_file(Path(name), content)
        places.clear()
        allowed = limit
        with pytest.raises(OSError, match="power"):
            network.ratify(draft, then, keys)
        try:
            charter = load(network, then)
            assert (charter.version == 2) == (charter.standard.version == 2)
            versions.add(charter.version)
        except BadSignature:
            # Nobody can vouch between two keys of which only the new one is there.
            assert online == "lost"
            assert limit == writes - 1
        allowed = 1_000
        network.ratify(draft, then, keys)
        assert load(network, then).version == 2
    assert len(audit(network.folder, 2, network.root, then)) == 2
    assert 1 in versions


def test_ratifying_twice_changes_nothing(network: Any, tmp_path: Path) -> None:
    then = network.amend(tmp_path / "draft", standard())
    before = files_of(network.folder)
    network.ratify(tmp_path / "draft", then + DAY)
    assert files_of(network.folder) == before


def test_an_expired_charter_can_be_renewed(network: Any, tmp_path: Path) -> None:
    later = network.expires + timedelta(days=10)
    with pytest.raises(Expired):
        load(network, later)
    draft = tmp_path / "draft"
    network.propose(draft, {}, now=later, expires=later + timedelta(days=300))
    then = network.decided(draft, now=later)
    network.ratify(draft, then, OnlineKeys(network.online.current, later + timedelta(days=100)))
    charter = load(network, then)
    assert (charter.version, charter.terms) == (2, first_terms("home"))
    assert charter.expires_at == later + timedelta(days=100)


def test_a_timestamp_that_nobody_renews_freezes_the_charter(network: Any) -> None:
    soon = network.founded_at + timedelta(days=7)
    online = OnlineKeys(network.online.current, soon)
    refresh(network.folder, trusted_root=network.root, online=online, now=network.founded_at)
    assert load(network, soon - HOUR).expires_at == soon
    with pytest.raises(Frozen, match=r"frozen: .*timestamp\.json has ended .* get the newest"):
        load(network, soon)
    refresh(network.folder, trusted_root=network.root, online=network.online, now=soon)
    assert load(network, soon).expires_at == network.expires


def test_a_founding_is_signed_by_every_steward(tmp_path: Path, network: Any) -> None:
    keys = [Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3)]
    online = Identity.from_seed(b"o" * 32)
    draft, public = tmp_path / "founding", tmp_path / "new"
    now = network.founded_at
    begun = begin_founding(
        draft,
        files=first_files("new", None, 0),
        signatories=Signatories(
            stewards=tuple(
                steward_of(name, interest, key)
                for name, interest, key in zip(
                    ("ada", "ben", "cai"), ("hosts", "customers", "operator"), keys, strict=True
                )
            ),
            threshold=2,
            online_key=online.public_key.hex(),
        ),
        now=now,
        expires=network.expires,
    )
    online_keys = OnlineKeys(online, network.expires)

    def publish() -> None:
        ratify(read_draft(draft), public, trusted_root=None, online=online_keys, now=now)

    with pytest.raises(BadSignature, match="no steward's"):
        sign_draft(draft, online, "yes", now)
    with pytest.raises(NotDecided, match="a yes alone"):
        sign_draft(draft, keys[0], "no", now)
    with pytest.raises(Malformed, match="not proposed and voted on"):
        second_draft(draft, keys[0], now)
    sign_draft(draft, keys[0], "yes", now)
    sign_draft(draft, keys[1], "yes", now)
    with pytest.raises(TooFewSignatures, match="cai must still sign"):
        publish()
    assert not public.exists()
    sign_draft(draft, keys[2], "yes", now)
    publish()
    root = (public / "metadata" / "1.root.json").read_bytes()
    charter = load_charter(public, trusted_root=root, state_directory=None, now=now)
    assert (charter.ballot, [each.name for each in charter.stewards]) == (
        begun.identity,
        ["ada", "ben", "cai"],
    )
    assert len(audit(public, 1, root, now)) == 1
    with pytest.raises(AlreadyFounded):
        publish()


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda ballot: (ballot / "votes" / "steward-2.json").unlink(), "no quorum"),
        (lambda ballot: (ballot / "second.json").unlink(), "cannot be read"),
        (lambda ballot: (ballot / "tally.json").write_text("{}"), "not what its votes add up to"),
        (lambda ballot: (ballot / "proposal.json").write_text("{}"), "proposal"),
        (
            lambda ballot: shutil.copy(ballot / "second.json", ballot / "votes" / "x.json"),
            "not a vote",
        ),
    ],
)
def test_whoever_verifies_recounts_the_ballots(
    network: Any, tmp_path: Path, edit: Callable[[Path], object], sentence: str
) -> None:
    then = network.amend(tmp_path / "draft", standard())
    edit(network.folder / "ballots" / load(network, then).ballot)
    with pytest.raises(CharterError, match=sentence):
        audit(network.folder, 2, network.root, then)


def test_whoever_verifies_notices_what_was_put_in_force_early(network: Any, tmp_path: Path) -> None:
    # Stewards and operator together can publish early; whoever verifies sees it.
    draft = tmp_path / "draft"
    network.propose(draft, standard())
    then = network.decided(draft, now=network.founded_at)
    network.ratify(draft, then)
    with pytest.raises(NotDecided, match="too early"):
        audit(network.folder, 2, network.root, network.founded_at + DAY)


def test_a_past_of_another_network_is_not_this_ones(
    network: Any, other_network: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadSignature, match="not the trusted root"):
        audit(other_network.folder, 1, network.root, network.founded_at)
    then = network.amend(tmp_path / "draft", standard())
    shutil.copy(
        other_network.folder / "metadata" / "1.targets.json",
        network.folder / "metadata" / "1.targets.json",
    )
    with pytest.raises((AlteredDocument, TooFewSignatures)):
        audit(network.folder, 2, network.root, then)
