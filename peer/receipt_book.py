"""The receipts this host signed last, as the exact bytes it sent: numbers only, no content.

They are the owner's proof towards a coordinator; older ones are in its accounts.
"""

import base64
from collections import deque
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
from msgspec import Meta

from peerllm.crypto.signed import MAXIMUM_BLOB_BYTES
from peerllm.peer.files import read_state, write_state

# A day of a busy home host, in a file of some 250 KB that is written at once.
KEPT_RECEIPTS: Final = 500
# A busy host signs several a second; a crash loses no more than this.
_WRITE_SECONDS: Final = 5.0

# Base64 of the signed bytes.
SignedText = Annotated[str, Meta(max_length=(MAXIMUM_BLOB_BYTES + 128) * 4 // 3)]


class Receipts(msgspec.Struct, frozen=True, kw_only=True):
    """Signed receipts, newest first."""

    receipts: Annotated[list[SignedText], Meta(max_length=KEPT_RECEIPTS)] = []


class ReceiptBook:
    """Keeps the last receipts, in memory and in a file.

    Raises `ConfigurationError` when the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = read_state(path, Receipts) or Receipts()
        self._receipts = deque(kept.receipts, maxlen=KEPT_RECEIPTS)
        self._changed = trio.Event()

    @property
    def receipts(self) -> Receipts:
        """What is kept."""
        return Receipts(receipts=list(self._receipts))

    def keep(self, signed: bytes) -> None:
        """Take one more; the oldest makes room."""
        self._receipts.appendleft(base64.b64encode(signed).decode())
        self._changed.set()

    async def run(self) -> None:
        """Write what changed, until cancelled; then write once more."""
        try:
            while True:
                await self._changed.wait()
                await trio.sleep(_WRITE_SECONDS)
                await trio.to_thread.run_sync(self.write)
        finally:
            self.write()

    def write(self) -> None:
        """Bring the file up to date. A full disk costs the file, not the work."""
        if not self._changed.is_set():
            return
        changed, self._changed = self._changed, trio.Event()
        try:
            write_state(self._path, self.receipts)
        except OSError:
            self._changed = changed


def signed_bytes(text: str) -> bytes | None:
    """The bytes of a kept receipt; None when the text is damaged."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None
