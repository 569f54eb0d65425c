"""A change's way from proposal to force, over files alone, and everything that stops it."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from peerllm.charter.amending import (
    propose,
    rebase_draft,
    second_draft,
    sign_draft,
)
from peerllm.charter.auditing import audit
from peerllm.charter.defaults import first_catalogue, first_tariff, first_terms
from peerllm.charter.documents import write_document
from peerllm.charter.drafts import read_draft
from peerllm.charter.errors import (
    BadSignature,
    CharterError,
    Malformed,
    NotDecided,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.folder import put_file
from tests.charter.changes import DAY, HOUR, files_of, load, replace, standard


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


def test_a_version_lives_longer_than_its_notice(network: Any, tmp_path: Path) -> None:
    end = network.founded_at + timedelta(days=14)
    with pytest.raises(Malformed, match=r"would end at 2030-01-15 .* before its notice of 14 days"):
        network.propose(tmp_path / "draft", standard(), expires=end)
    # Notice is counted again from the seconding.
    network.propose(tmp_path / "draft", standard(), expires=end + HOUR)
    with pytest.raises(Malformed, match="before its notice"):
        second_draft(tmp_path / "draft", network.steward(2), network.founded_at + 2 * HOUR)
    assert not (tmp_path / "draft" / "second.json").exists()


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
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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

    def crash(path: Path, raw: bytes) -> None:
        if path.name == "root.json":
            raise OSError("the disk is full")
        put_file(path, raw)

    with monkeypatch.context() as patch:
        patch.setattr("peerllm.charter.drafts.put_file", crash)
        with pytest.raises(OSError, match="full"):
            rebase_draft(slow, base)
    # The base is of two versions now; run again, it is put right.
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
