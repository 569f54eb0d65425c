"""A charter is founded, renewed, kept fresh; and anybody can recount its past."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from peerllm.charter.amending import (
    begin_founding,
    second_draft,
    sign_draft,
)
from peerllm.charter.auditing import audit
from peerllm.charter.commands import charter_app
from peerllm.charter.defaults import first_terms
from peerllm.charter.drafts import read_draft
from peerllm.charter.errors import (
    AlreadyFounded,
    AlteredDocument,
    BadSignature,
    BusyLog,
    CharterError,
    Expired,
    Frozen,
    Malformed,
    NotDecided,
    TooFewSignatures,
    WrongClock,
)
from peerllm.charter.folder import put_file
from peerllm.charter.given_documents import first_files
from peerllm.charter.key_files import steward_of
from peerllm.charter.publishing import OnlineKeys, refresh
from peerllm.charter.ratifying import ratify
from peerllm.charter.stewards import Signatories
from peerllm.charter.store import load_charter
from peerllm.crypto.identity import Identity
from tests.charter.changes import DAY, HOUR, files_of, load, standard


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


def test_a_refresh_does_not_put_an_old_version_over_one_just_ratified(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = tmp_path / "draft"
    network.propose(draft, standard())
    then = network.decided(draft, now=network.founded_at)
    overtaken: list[str] = []

    def put_after_another(path: Path, raw: bytes) -> None:
        if path.name == "timestamp.json" and not overtaken:
            overtaken.append(path.name)
            with pytest.raises(BusyLog, match="another process is writing here"):
                network.ratify(draft, then)
        put_file(path, raw)

    monkeypatch.setattr("peerllm.charter.publishing.put_file", put_after_another)
    refresh(network.folder, trusted_root=network.root, online=network.online, now=then)
    assert overtaken
    network.ratify(draft, then)
    assert load(network, then).version == 2


def test_a_timestamp_made_by_a_clock_that_was_ahead_is_replaced(
    network: Any, tmp_path: Path
) -> None:
    now, ahead = network.founded_at, network.founded_at + timedelta(days=120)
    assert load(network, now, tmp_path / "state").version == 1
    sign = {"trusted_root": network.root, "online": network.online}
    refresh(network.folder, **sign, now=ahead)
    with pytest.raises(WrongClock):
        load(network, now, tmp_path / "state")
    # Not by itself: mostly it is this machine's clock that is wrong.
    with pytest.raises(WrongClock):
        refresh(network.folder, **sign, now=now)
    key = ("--online-key", str(network.keys / "online.key"), "--at", f"{now:%Y-%m-%d}")
    done = CliRunner().invoke(
        charter_app, ["refresh", str(network.folder), *key, "--clock-was-wrong"]
    )
    assert done.exit_code == 0, done.output
    assert load(network, now, tmp_path / "state").version == 1


def test_an_ended_charter_is_not_refreshed_but_renewed(network: Any) -> None:
    with pytest.raises(Expired, match="its stewards must propose to renew it"):
        refresh(
            network.folder,
            trusted_root=network.root,
            online=network.online,
            now=network.expires,
        )


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


def test_ratifying_twice_changes_nothing(network: Any, tmp_path: Path) -> None:
    then = network.amend(tmp_path / "draft", standard())
    before = files_of(network.folder)
    network.ratify(tmp_path / "draft", then + DAY)
    assert files_of(network.folder) == before


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
