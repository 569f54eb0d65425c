"""Keys that are lost or stolen are replaced; a crash at any write of it can be mended."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from peerllm.charter import folder, publishing, ratifying
from peerllm.charter.amending import (
    second_draft,
    sign_draft,
)
from peerllm.charter.auditing import audit
from peerllm.charter.errors import (
    BadSignature,
    NotDecided,
    RevokedKey,
)
from peerllm.charter.key_files import steward_of
from peerllm.charter.publishing import OnlineKeys, refresh
from peerllm.charter.stewards import Signatories
from peerllm.crypto.identity import Identity
from tests.charter.changes import files_of, load, replace, standard


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


def test_a_steward_signs_with_the_key_that_goes_and_with_the_one_that_comes(
    network: Any, tmp_path: Path
) -> None:
    fresh, old = Identity.from_seed(b"f" * 32), network.steward(3)
    draft = tmp_path / "rotation"
    network.propose(draft, {}, signatories=rotated(network, "steward-3", "steward-3", fresh))
    now = network.founded_at
    then = network.decided(draft, now=now, signers=(network.steward(1), old))
    sign_draft(draft, network.steward(2), "abstain", now)
    # Neither key's signature takes the other's place: the old and the new root need one each.
    assert len(sign_draft(draft, fresh, "yes", now).signatures) == 3
    network.ratify(draft, then)
    assert load(network, then).version == 2


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
