"""A region's work, entered into a real database at whatever time a test says it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from peerllm.charter.region_rules import month_bounds
from peerllm.charter.seat_rules import DAY_US
from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.ledger import Leg, Posted, Reserved
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage_file import StorageFile
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt, sign_receipt

USD: Final = 10**9
DIGEST: Final = b"\x01" * 32
SIGNER: Final = Identity.from_seed(b"\x05" * 32)


@dataclass
class Clock:
    now: int

    def __call__(self) -> int:
        return self.now


@dataclass
class Region:
    """Hosts of one operator each, in one region of a coordinator's database."""

    path: Path
    clock: Clock
    name: str = "bavaria"
    digest: bytes = DIGEST
    requests: int = field(default=0)

    def __post_init__(self) -> None:
        with StorageFile(self.path, clock=self.clock) as storage:
            storage.create_customer("school")
            for number in range(10):
                storage.deposit("customers/school", 10**14, f"deposit-{number}")

    def seat(self, hosts: Sequence[str], *, dedicated: bool = False) -> None:
        with StorageFile(self.path, clock=self.clock) as storage:
            for host in hosts:
                tier = "dedicated" if dedicated else "community"
                storage.seat(host, f"operator-{host}", tier, [self.digest], region=self.name)

    def work(
        self,
        storage: StorageFile,
        hosts: Sequence[str],
        charge: int,
        *,
        receipts: Sequence[SignedReceipt] | None = None,
        unclaimed: int = 0,
        opened_us_ago: int = 0,
    ) -> str:
        """One request that all these hosts had a part in, settled now."""
        self.requests += 1
        request = f"request-{self.requests:06}"
        margin = charge * 5 // 100
        pool = charge - margin - unclaimed
        parts = [pool // len(hosts)] * len(hosts) if hosts else []
        if parts:
            parts[0] += pool - sum(parts)
        legs = [Leg(f"hosts/{host}", part) for host, part in zip(hosts, parts, strict=True)]
        legs += [Leg("hosts/unclaimed", unclaimed), Leg("network/margin", margin)]
        paid = tuple(leg for leg in legs if leg.amount)
        self.clock.now -= opened_us_ago
        assert isinstance(
            storage.reserve(request, "customers/school", charge, key_id=None), Reserved
        )
        self.clock.now += opened_us_ago
        settled = Settlement(charge=charge, host_share=charge - margin, margin=margin, legs=paid)
        if receipts is None:
            receipts = [self.receipt(host, seconds=1) for host in hosts]
        assert isinstance(storage.post(request, settled, receipts), Posted)
        return request

    def receipt(self, host: str, *, seconds: int, outcome: str = "complete") -> SignedReceipt:
        """What a host would have signed of the latest request; nothing here looks at the name."""
        dispatch = sha256(f"{self.requests}{host}".encode()).digest()[:16]
        receipt = Receipt(
            dispatch_id=dispatch,
            host=SIGNER.peer_id,
            coordinator=SIGNER.peer_id,
            nonce=bytes(16),
            model_digest=self.digest,
            prompt_tokens=1,
            completion_tokens=1,
            first_token_us=0,
            duration_us=seconds * 1_000_000,
            outcome=outcome,
            issued_at_us=1,
            expires_at_us=2,
        )
        return SignedReceipt(host, dispatch, sign_receipt(SIGNER, receipt))

    def month(self, month: str, hosts: Sequence[str], revenue: int, *, days: int = 10) -> None:
        """A month in which these hosts worked on so many days for so much in all."""
        begins, _ = month_bounds(month)
        parts = [revenue // days] * days
        parts[0] += revenue - sum(parts)
        with StorageFile(self.path, clock=self.clock) as storage:
            for day, charge in enumerate(parts):
                self.clock.now = begins + day * DAY_US + DAY_US // 2
                self.work(storage, hosts, charge)
