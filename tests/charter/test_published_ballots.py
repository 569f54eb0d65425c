"""What is published of a ballot is what anybody recounts, whatever lay in the draft."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from peerllm.charter.amending import sign_draft
from peerllm.charter.auditing import audit
from peerllm.charter.ballot_papers import Choice, Vote, second_id, sign
from peerllm.charter.ballots import Ballot
from peerllm.charter.drafts import read_draft
from peerllm.charter.errors import BadSignature
from peerllm.charter.folder import put_file
from peerllm.charter.key_files import steward_of
from peerllm.charter.log import BallotEvent
from peerllm.charter.publishing import OnlineKeys
from peerllm.charter.ratification_log import ratification_entries
from peerllm.charter.ratifying import published_votes
from peerllm.charter.spelling import spelling
from peerllm.charter.versions import digest
from peerllm.crypto.identity import Identity
from tests.charter.changes import files_of, standard


def test_votes_that_do_not_count_do_not_spoil_the_published_tally(
    network: Any, tmp_path: Path
) -> None:
    draft = tmp_path / "draft"
    network.propose(draft, standard())
    then = network.decided(draft, now=network.founded_at)
    plan, seconded = read_draft(draft).identity, read_draft(draft).second
    assert seconded is not None
    steward, stranger = network.steward(3), Identity.from_seed(b"x" * 32)
    for name, key, notice, at_us in (
        ("junk-1", steward, "0" * 64, seconded.at_us),
        ("junk-2", steward, second_id(seconded), seconded.at_us - 1_000_000),
        ("junk-3", stranger, second_id(seconded), seconded.at_us),
    ):
        public_key = key.public_key.hex()
        vote = Vote(proposal=plan, second=notice, steward=public_key, choice="no", at_us=at_us)
        put_file(draft / "votes" / f"{name}.json", spelling(sign(vote, key)))
    network.ratify(draft, then)
    counted = audit(network.folder, 2, network.root, then)[1].tally
    assert counted is not None
    assert [len(counted.by_choice["yes"]), len(counted.refused)] == [2, 2]
    published = (network.folder / "ballots" / plan / "tally.json").read_bytes()
    [noted] = [
        entry.body
        for entry in ratification_entries(read_draft(draft), network.in_force(then), then)
        if isinstance(entry.body, BallotEvent)
    ]
    assert noted.sha256 == digest(published)


def test_a_ratification_that_broke_off_leaves_no_vote_that_nobody_counted(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, other = tmp_path / "draft", tmp_path / "other"
    network.propose(draft, standard())
    then = network.decided(draft, now=network.founded_at)
    shutil.copytree(draft, other)
    sign_draft(other, network.steward(3), "no", network.founded_at)
    before = files_of(network.folder)
    with pytest.raises(BadSignature, match="give the operator's key file"):
        network.ratify(other, then, OnlineKeys(network.steward(1), then))
    assert files_of(network.folder) == before

    def crash(path: Path, raw: bytes) -> None:
        if path.name == "timestamp.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        put_file(path, raw)

    with monkeypatch.context() as patch:
        patch.setattr("peerllm.charter.publishing.put_file", crash)
        with pytest.raises(OSError, match="No space"):
            network.ratify(other, then)
    network.ratify(draft, then)
    assert audit(network.folder, 2, network.root, then)[1].tally is not None


def test_a_second_vote_does_not_take_the_place_of_another_stewards_first(
    network: Any, tmp_path: Path
) -> None:
    keys = {name: Identity.from_seed(name.encode().ljust(32)) for name in ("ada", "ada-2")}

    def vote(name: str, choice: Choice) -> Vote:
        key = keys[name]
        unsigned = Vote(
            proposal="0" * 64,
            second="0" * 64,
            steward=key.public_key.hex(),
            choice=choice,
            at_us=1,
        )
        return sign(unsigned, key)

    votes = (vote("ada", "yes"), vote("ada-2", "yes"), vote("ada", "no"))
    stewards = tuple(steward_of(name, "hosts", key) for name, key in keys.items())
    plan = network.propose(tmp_path / "draft", standard()).plan
    ballot = Ballot(plan, None, votes, stewards)
    assert sorted(published_votes(ballot).values(), key=repr) == sorted(votes, key=repr)
