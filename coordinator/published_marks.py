"""Books held against what was published of them before: heads, roots, the public log's entries."""

import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peerllm.charter.log_checkpoint import LogKeys
from peerllm.charter.log_entries import PayoutBatch
from peerllm.charter.log_verification import read_entries, verify_log

if TYPE_CHECKING:
    from peerllm.coordinator.storage_file import StorageFile

_HEAD: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
_ROOT: Final = re.compile(r"([^=]{1,100})=([0-9a-f]{64})")


def read_head(text: str) -> tuple[int, str] | None:
    """Return the number and digest of "NUMBER:DIGEST", None for anything else."""
    found = _HEAD.fullmatch(text)
    return None if found is None else (int(found[1]), found[2])


def read_root(text: str) -> tuple[str, str] | None:
    """Return the batch and root of "BATCH=ROOT", None for anything else."""
    found = _ROOT.fullmatch(text)
    return None if found is None else (found[1], found[2])


def logged_roots(public: Path, keys: LogKeys, region: str) -> tuple[tuple[str, str], ...]:
    """Return each batch of a region with its root, from a log that is verified whole first.

    A batch that the log names twice is there with every root that it was given: whoever has
    written the books anew could publish the new root, but not take the old one back. Raises
    CharterError when the log is not what its key signed.
    """
    signed = verify_log(public, keys, time.time()).signed
    bodies = (entry.body for _, entry in read_entries(public, signed, 0))
    return tuple(
        dict.fromkeys(
            (body.batch, body.root)
            for body in bodies
            if isinstance(body, PayoutBatch) and body.region == region
        )
    )


def head_faults(books: "StorageFile", number: int, digest: str) -> Iterator[str]:
    """Yield a sentence when the hash chain no longer has this link."""
    found = books.chain_digest(number)
    if found is None:
        yield f"the hash chain has no link {number} any more: books were cut off"
    elif found.hex() != digest:
        yield f"link {number} of the hash chain was {digest}: the books were written anew"


def root_faults(books: "StorageFile", batch: str, root: str) -> Iterator[str]:
    """Yield a sentence when a batch is not the one that was published with this root."""
    found = books.payouts.batch(batch)
    if found is None:
        yield f"batch {batch[:50]} was published, but these books do not have it"
    elif found.computed_root().hex() != root:
        yield f"batch {batch} was published with root {root}: the books were written anew"


def unlogged_faults(books: "StorageFile", logged: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each batch that the books have and the log does not."""
    for batch in books.payouts.batches():
        if batch not in logged:
            yield f"batch {batch} is in the books but not in the public log"
