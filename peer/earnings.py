"""What a host has signed for, day by day: numbers only, no receipt and no content.

Tokens, not money: what a receipt pays is for the coordinator's tariff and count to say.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
from msgspec import Meta

from peerllm.crypto.receipt import Receipt
from peerllm.peer.files import read_state, write_state

# Older days are for the owner's own records.
_KEPT_DAYS: Final = 366
# Each has at most 337 bytes in the file, which is read up to 1 MiB: eight models for a year.
KEPT_ROWS: Final = 3000
# Earlier releases kept a year of up to 64 models, 24,000 rows. Such a file is cut, not refused.
_LARGEST_FILE_BYTES: Final = 16 * 1024 * 1024
# Receipts of one breath are written together; a crash loses no more than this.
_WRITE_SECONDS: Final = 1.0


class DayOfWork(msgspec.Struct, frozen=True, kw_only=True):
    """Receipts signed on one day (UTC) for one coordinator and one model."""

    day: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    coordinator: str
    model_digest: str
    receipts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """All days that are kept, oldest first."""

    days: list[DayOfWork] = []


def with_receipt(earnings: Earnings, receipt: Receipt) -> Earnings:
    """The same days with one more receipt in them."""
    day = datetime.fromtimestamp(receipt.issued_at_us / 1e6, UTC).date().isoformat()
    key = (day, receipt.coordinator, receipt.model_digest.hex())
    rows = {(row.day, row.coordinator, row.model_digest): row for row in earnings.days}
    row = rows.get(key) or DayOfWork(day=day, coordinator=key[1], model_digest=key[2])
    rows[key] = msgspec.structs.replace(
        row,
        receipts=row.receipts + 1,
        prompt_tokens=row.prompt_tokens + receipt.prompt_tokens,
        completion_tokens=row.completion_tokens + receipt.completion_tokens,
    )
    days = set(sorted({row.day for row in rows.values()})[-_KEPT_DAYS:])
    kept = [row for row in rows.values() if row.day in days]
    return Earnings(days=_latest(kept))


def _latest(rows: list[DayOfWork]) -> list[DayOfWork]:
    """As many of the latest days as may be kept, each of them whole; the oldest first."""
    rows = sorted(rows, key=lambda row: (row.day, row.model_digest))
    if len(rows) <= KEPT_ROWS:
        return rows
    cut = rows[-KEPT_ROWS - 1].day
    # A single day of so many models is cut all the same: the file must stay readable.
    return [row for row in rows if row.day > cut] or rows[-KEPT_ROWS:]


def read_earnings(path: Path) -> Earnings:
    """The latest days that the file tells. Raises `ConfigurationError` when it is damaged."""
    found = read_state(path, Earnings, maximum_bytes=_LARGEST_FILE_BYTES) or Earnings()
    return Earnings(days=_latest(found.days))


class EarningsBook:
    """Counts receipts and keeps the count in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.earnings = read_earnings(path)
        self._written = self.earnings
        self._changed = trio.Event()

    def count(self, receipt: Receipt) -> None:
        """Take one more receipt into account."""
        self.earnings = with_receipt(self.earnings, receipt)
        self._changed.set()

    async def run(self) -> None:
        """Write what changed, until cancelled; then write once more."""
        try:
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                await trio.to_thread.run_sync(self.write)
                await trio.sleep(_WRITE_SECONDS)
        finally:
            self.write()

    def write(self) -> None:
        """Bring the file up to date. A full disk costs the count, not the work."""
        earnings = self.earnings
        if earnings is self._written:
            return
        try:
            write_state(self._path, earnings)
        except OSError:
            return
        self._written = earnings
