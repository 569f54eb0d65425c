"""What a ratification leaves in the public log."""

from datetime import datetime
from pathlib import Path
from typing import Final

from peerllm.charter import log
from peerllm.charter.amending import epoch_us
from peerllm.charter.ballot_papers import Founding
from peerllm.charter.document_set import TARIFF_FILE, region_file
from peerllm.charter.drafts import Draft
from peerllm.charter.log_entries import EntryBody
from peerllm.charter.log_store import KEY_NAME
from peerllm.charter.ratifying import published_tally
from peerllm.charter.versions import CharterVersion, digest

LOG: Final = "log"


def log_folder(directory: Path, given: Path | None) -> Path | None:
    """Return the operator's log folder: the one given, else the network's own if it is one."""
    own = directory / LOG
    return given or (own if (own / KEY_NAME).exists() else None)


def ratification_entries(
    draft: Draft, in_force: CharterVersion, now: datetime
) -> tuple[log.Entry, ...]:
    """Return the entries for a version that came into force by a draft.

    Its targets' digest, a new tariff, the regions whose records are new, and the digest of the
    tally that the ballot's papers make.
    """
    bodies: list[EntryBody] = [
        log.CharterVersion(version=in_force.number, sha256=digest(in_force.targets_raw))
    ]
    tariff = in_force.documents.tariff
    if TARIFF_FILE in draft.new_files:
        bodies.append(
            log.TariffVersion(
                version=tariff.version,
                sha256=digest(in_force.files[TARIFF_FILE]),
                valid_from_us=tariff.valid_from_us,
            )
        )
    for region, record in sorted(in_force.documents.regions.items()):
        if region_file(region) in draft.new_files:
            # A local community is what the log calls one.
            decision = "community" if record.status == "local" else record.status
            sha256 = digest(in_force.files[region_file(region)])
            bodies.append(log.RegionDecision(region=region, decision=decision, sha256=sha256))
    if draft.ballot is not None and not isinstance(draft.plan, Founding):
        paper = published_tally(draft.ballot)
        bodies.append(log.BallotEvent(ballot=draft.identity, step="ratified", sha256=digest(paper)))
    return tuple(log.Entry(at_us=epoch_us(now), body=body) for body in bodies)


def take_down(folder: Path, entries: tuple[log.Entry, ...]) -> None:
    """Append entries to an operator's log; its key's owner publishes them with `log checkpoint`."""
    with log.open_log(folder) as writer:
        writer.append(entries)
