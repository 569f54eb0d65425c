"""A small charter that has every kind of file: two versions, a ballot, a federated region."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from peerllm.charter.amending import begin_founding, propose, second_draft, sign_draft
from peerllm.charter.auditing import audit
from peerllm.charter.defaults import first_standard
from peerllm.charter.documents import write_document
from peerllm.charter.drafts import read_draft
from peerllm.charter.given_documents import first_files
from peerllm.charter.key_files import steward_of
from peerllm.charter.publishing import OnlineKeys, publish_capacity, sign_capacity, verified
from peerllm.charter.ratifying import ratify
from peerllm.charter.region_record import LocalCapacity, RegionDecision, RegionRecord
from peerllm.charter.stewards import Signatories
from peerllm.charter.store import Charter, load_charter
from peerllm.crypto.identity import Identity

FOUNDED = datetime(2030, 1, 1, tzinfo=UTC)
FOUNDED_US = int(FOUNDED.timestamp()) * 1_000_000
EXPIRES = FOUNDED + timedelta(days=400)
KEYS = [Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3)]
ONLINE = Identity.from_seed(b"o" * 32)
NORTH = [Identity.from_seed(bytes([number]) * 32) for number in (21, 22)]
SIGNATORIES = Signatories(
    stewards=tuple(
        steward_of(name, interest, key)
        for name, interest, key in zip(
            ("ada", "ben", "cai"), ("hosts", "customers", "operator"), KEYS, strict=True
        )
    ),
    threshold=2,
    online_key=ONLINE.public_key.hex(),
)


@dataclass(frozen=True)
class SmallCharter:
    """The public folder, its root, and the moment its second version is in force."""

    folder: Path
    root: bytes
    now: datetime

    def verify(self, state: Path | None = None) -> Charter:
        """Do all that `charter verify` does; raises a CharterError."""
        charter = load_charter(
            self.folder, trusted_root=self.root, state_directory=state, now=self.now
        )
        audit(self.folder, charter.version, self.root, self.now)
        return charter


def federated_region() -> RegionRecord:
    steps = ("open", "activate", "federate")
    return RegionRecord(
        name="north",
        status="federated",
        since_us=FOUNDED_US - 1,
        contact="north@example.org",
        delegated_keys=tuple(key.public_key.hex() for key in NORTH),
        delegated_threshold=2,
        decisions=tuple(
            RegionDecision(step=step, decided_at_us=FOUNDED_US - 3 + number, reason="as agreed")
            for number, step in enumerate(steps)
        ),
    )


def capacity(version: int = 1, seats: int = 12) -> bytes:
    return write_document(
        LocalCapacity(
            region="north",
            version=version,
            seats={"smollm2-135m-instruct": seats},
            target_utilisation_basis_points=6_000,
        )
    )


def found(place: Path, *, region: RegionRecord | None = None) -> SmallCharter:
    """Found a network of three stewards, with one region."""
    files = first_files("home", None, FOUNDED_US)
    del files["regions/default.json"]
    record = region or federated_region()
    files[f"regions/{record.name}.json"] = write_document(record)
    files["calculations/2030-q1.csv"] = b"electricity,100000\n"
    draft, folder = place / "founding", place / "public"
    begin_founding(draft, files=files, signatories=SIGNATORIES, now=FOUNDED, expires=EXPIRES)
    for key in KEYS:
        sign_draft(draft, key, "yes", FOUNDED)
    online = OnlineKeys(ONLINE, EXPIRES)
    ratify(read_draft(draft), folder, trusted_root=None, online=online, now=FOUNDED)
    return SmallCharter(folder, (folder / "metadata" / "1.root.json").read_bytes(), FOUNDED)


def with_capacity(charter: SmallCharter, content: bytes) -> SmallCharter:
    """Have the region's two keys sign a capacity and the operator publish it."""
    published = verified(charter.folder, charter.root, charter.now)
    raw: bytes | None = None
    for key in NORTH:
        raw = sign_capacity(published, content, key, expires=EXPIRES, before=raw)
    assert raw is not None
    publish_capacity(
        charter.folder,
        content,
        raw,
        trusted_root=charter.root,
        online=OnlineKeys(ONLINE, EXPIRES),
        now=charter.now,
    )
    return charter


def smaller_margin() -> dict[str, bytes]:
    document = msgspec.structs.replace(first_standard(), version=2, answer_margin_milli=150)
    return {"safety-standard.json": write_document(document)}


def amended(charter: SmallCharter, draft: Path, files: dict[str, bytes]) -> SmallCharter:
    """Put a second version in force, by a ballot of two yes and one no, after 14 days."""
    propose(
        draft,
        base=verified(charter.folder, charter.root, charter.now).version,
        new_files=files,
        summary="A small change",
        key=KEYS[0],
        now=charter.now,
        expires=EXPIRES,
    )
    second_draft(draft, KEYS[1], charter.now)
    for key, choice in zip(KEYS, ("yes", "yes", "no"), strict=True):
        sign_draft(draft, key, "yes" if choice == "yes" else "no", charter.now)
    now = charter.now + timedelta(days=14)
    ratify(
        read_draft(draft),
        charter.folder,
        trusted_root=charter.root,
        online=OnlineKeys(ONLINE, EXPIRES),
        now=now,
    )
    return SmallCharter(charter.folder, charter.root, now)


def small_charter(place: Path) -> SmallCharter:
    """Build all of it."""
    charter = with_capacity(found(place), capacity())
    return amended(charter, place / "draft", smaller_margin())
