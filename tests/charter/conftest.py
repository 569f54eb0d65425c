import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from peerllm.charter.amending import propose, second_draft, sign_draft
from peerllm.charter.ballot_papers import Proposal
from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.drafts import Draft, read_draft
from peerllm.charter.publishing import OnlineKeys, verified
from peerllm.charter.ratifying import ratify
from peerllm.charter.stewards import Signatories
from peerllm.charter.store import found_network
from peerllm.charter.versions import CharterVersion
from peerllm.crypto.identity import Identity

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Network:
    """A network of three stewards, founded in 2030 for 400 days, with its keys at hand."""

    folder: Path
    keys: Path
    root: bytes
    founded_at: datetime
    expires: datetime

    def key(self, number: int) -> Path:
        return self.keys / f"steward-{number}.key"

    def steward(self, number: int) -> Identity:
        return Identity.load_or_create(self.key(number))

    @property
    def online(self) -> OnlineKeys:
        return OnlineKeys(Identity.load_or_create(self.keys / "online.key"), self.expires)

    def in_force(self, now: datetime) -> CharterVersion:
        return verified(self.folder, self.root, now).version

    def propose(
        self,
        draft: Path,
        files: Mapping[str, bytes],
        *,
        now: datetime | None = None,
        signatories: Signatories | None = None,
        proposer: int = 1,
        expires: datetime | None = None,
    ) -> Draft:
        now = now or self.founded_at
        return propose(
            draft,
            base=self.in_force(now),
            new_files=files,
            summary="a change",
            key=self.steward(proposer),
            now=now,
            expires=expires or self.expires,
            signatories=signatories,
        )

    def decided(self, draft: Path, *, now: datetime, signers: Sequence[Identity] = ()) -> datetime:
        """Second and sign a draft of the first steward; give the moment its notice ends."""
        seconded = second_draft(draft, self.steward(2), now)
        for key in signers or (self.steward(1), self.steward(2)):
            sign_draft(draft, key, "yes", now)
        assert isinstance(seconded.plan, Proposal)
        return now + timedelta(days=seconded.plan.rule.notice_days)

    def ratify(self, draft: Path, now: datetime, online: OnlineKeys | None = None) -> None:
        ratify(
            read_draft(draft),
            self.folder,
            trusted_root=self.root,
            online=online or self.online,
            now=now,
        )

    def amend(
        self, draft: Path, files: Mapping[str, bytes], *, now: datetime | None = None
    ) -> datetime:
        """Propose, second, sign and ratify; give the moment of ratification."""
        now = now or self.founded_at
        self.propose(draft, files, now=now)
        then = self.decided(draft, now=now)
        self.ratify(draft, then)
        return then


def _found(place: Path, name: str) -> Network:
    expires = NOW + timedelta(days=400)
    root = found_network(
        place / name,
        terms=first_terms(name),
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=place / f"{name}-keys",
        threshold=2,
        now=NOW,
        expires=expires,
    )
    return Network(place / name, place / f"{name}-keys", root, NOW, expires)


def _copied(original: Network, place: Path) -> Network:
    folder, keys = place / original.folder.name, place / original.keys.name
    shutil.copytree(original.folder, folder)
    shutil.copytree(original.keys, keys)
    return Network(folder, keys, original.root, original.founded_at, original.expires)


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    # What makes guessing dear makes tests slow; the file says by which cost it was sealed.
    monkeypatch.setattr("peerllm.charter.key_files.SCRYPT_LOG2_N", 10)


@pytest.fixture(autouse=True)
def no_disk_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Half of the time of these tests; what a loss of power leaves is not what they are about.
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


@pytest.fixture(scope="session")
def founded_networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Network]:
    place = tmp_path_factory.mktemp("charter")
    return _found(place, "home"), _found(place, "other")


@pytest.fixture
def network(founded_networks: tuple[Network, Network], tmp_path: Path) -> Network:
    return _copied(founded_networks[0], tmp_path)


@pytest.fixture
def other_network(founded_networks: tuple[Network, Network], tmp_path: Path) -> Network:
    return _copied(founded_networks[1], tmp_path)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"copy-of-{folder.name}"))

    return copy
