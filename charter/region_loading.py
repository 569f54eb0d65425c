"""What federated regions have signed for themselves: their capacity, and nothing else.

A region that fails to renew its own file harms itself: its capacity is not in force, and the
charter is as good as before. A file that is not the one the operator published is refused.
"""

from pathlib import Path

from tuf.api.exceptions import ExpiredMetadataError, UnsignedMetadataError
from tuf.api.metadata import (
    Snapshot,
)
from tuf.ngclient.updater import Updater

from peerllm.charter.document_set import capacity_file
from peerllm.charter.documents import read_document
from peerllm.charter.errors import Malformed
from peerllm.charter.metadata import region_role
from peerllm.charter.region_record import LocalCapacity, RegionRecord, capacity_faults
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES
from peerllm.charter.versions import CharterVersion


def read_capacities(
    updater: Updater, version: CharterVersion, snapshot: Snapshot
) -> tuple[dict[str, LocalCapacity], tuple[str, ...]]:
    """Return the capacities by region, and why those of others do not count.

    TUF's errors pass, but for those of the region's own making: signatures, expiry, content.
    """
    capacities: dict[str, LocalCapacity] = {}
    notices: list[str] = []
    for region, record in sorted(version.documents.regions.items()):
        if record.status != "federated":
            continue
        if f"{region_role(region)}.json" not in snapshot.meta:
            notices.append(f"region {region!r} has not set its own capacity yet")
            continue
        try:
            capacities[region] = _capacity(updater, region, record)
        except (UnsignedMetadataError, ExpiredMetadataError, Malformed) as error:
            notices.append(f"the capacity of region {region!r} is not in force: {error}")
    return capacities, tuple(notices)


def _capacity(updater: Updater, region: str, record: RegionRecord) -> LocalCapacity:
    name = capacity_file(region)
    target = updater.get_targetinfo(name)
    if target is None:
        raise Malformed(f"the region has signed no {name}")
    if target.length > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(f"{name} has more than {MAXIMUM_DOCUMENT_BYTES} bytes")
    content = Path(updater.download_target(target)).read_bytes()
    capacity = read_document(content, LocalCapacity)
    for fault in capacity_faults(capacity, record):
        raise Malformed(fault)
    return capacity
