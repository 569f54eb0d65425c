"""The money rules over 100,000 random requests, tiers, races and roundings.

    python benchmarks/money_rules.py [REQUESTS] [SEED]

Each request is priced by the tariff in force, by a quote from before the tariff moved, or both,
run as a race of random hosts, receipts and takeovers, and settled. Checked against fractions that
are never rounded: charge = hosts + margin to the nano-USD, hosts get at least 95%, no charge is
above its quote, and nobody is paid without a receipt.
"""

import sys
import time
from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from random import Random

import msgspec

from peerllm.charter.defaults import first_tariff
from peerllm.charter.tariff import IndexReading, Tariff, TokenPrice, tariff_faults
from peerllm.charter.tariff_rule import DAY_US, adjustment_faults, next_tariff
from peerllm.coordinator.ledger import Reservation, charge_transfers
from peerllm.coordinator.price_list import PriceList
from peerllm.coordinator.quotes import Quote
from peerllm.coordinator.settlement import (
    ChunkWork,
    HostWork,
    Settlement,
    charge_of,
    settle,
)

TARIFFS = 200
ACCOUNT = "customers/ada"


def random_tariff(draw: Random, starts_at_us: int) -> Tariff:
    """A tariff of random base prices, none of them round."""
    first = first_tariff(starts_at_us)
    base = {
        tier: {
            "small": TokenPrice(
                input_nano_usd_per_million=draw.randrange(10 ** draw.randrange(1, 12)),
                output_nano_usd_per_million=draw.randrange(10 ** draw.randrange(1, 12)),
            )
        }
        for tier in first.tiers
    }
    tiers = {
        name: msgspec.structs.replace(tier, host_share_basis_points=draw.randrange(9_500, 10_001))
        for name, tier in first.tiers.items()
    }
    return msgspec.structs.replace(
        first,
        tiers=tiers,
        base_prices=base,
        prices=base,
        backup_share_basis_points=draw.randrange(10_001),
    )


def moved(draw: Random, old: Tariff) -> Tariff:
    """The tariff after a move that the rule lets through, or the old one."""
    starts = old.valid_from_us + draw.randrange(30, 200) * DAY_US
    published = datetime.fromtimestamp((starts - 30 * DAY_US) // 10**6, UTC).date()
    reading = IndexReading(published=published.isoformat(), address="drawn at random")
    values = {"electricity": draw.randrange(80_000, 125_000)}
    new = next_tariff(old, values, starts, {"electricity": reading})
    allowed = not adjustment_faults(old, new, starts - 30 * DAY_US)
    assert not list(tariff_faults(new))
    return new if allowed else old


def random_race(draw: Random) -> tuple[ChunkWork, ...]:
    """Chunks with their hosts: receipts missing, short or greedy, takeovers, idle backups."""
    return tuple(
        ChunkWork(
            draw.randrange(10 ** draw.randrange(1, 10)),
            tuple(
                HostWork(
                    f"host-{draw.randrange(6)}",
                    draw.choice(("leader", "backup")),
                    draw.choice((None, 0, draw.randrange(5_000))),
                    draw.randrange(5_000),
                    draw.randrange(5_000),
                )
                for _ in range(draw.randrange(5))
            ),
        )
        for _ in range(draw.randrange(6))
    )


def one_request(draw: Random, tariff: Tariff, later: Tariff, seen: Counter[str]) -> None:
    now = [tariff.valid_from_us]
    prices = PriceList(
        later if later.version > tariff.version else tariff,
        {"toy": "small"},
        minimum_host_share_basis_points=9_500,
        now_us=lambda: now[0],
    )
    tier = draw.choice(sorted(tariff.tiers))
    before = prices.offer("toy", tier)
    assert before is not None
    quote = Quote(
        id=bytes(16),
        account=ACCOUNT,
        model="toy",
        tier=tier,
        tariff_version=before.tariff_version,
        input_nano_usd_per_million=before.price.input_nano_usd_per_million,
        output_nano_usd_per_million=before.price.output_nano_usd_per_million,
        issued_at_us=now[0],
        expires_at_us=now[0] + prices.quote_lifetime_us,
    )
    now[0] = later.valid_from_us
    quoted = draw.random() < 0.5
    offer = prices.quoted_offer(quote) if quoted else prices.offer("toy", tier)
    assert offer is not None
    prompt, completion = draw.randrange(10 ** draw.randrange(1, 7)), draw.randrange(100_000)
    charge = charge_of(offer.price, prompt_tokens=prompt, completion_tokens=completion)
    exact = Fraction(
        prompt * offer.price.input_nano_usd_per_million
        + completion * offer.price.output_nano_usd_per_million,
        1_000_000,
    )
    assert charge <= exact < charge + 1
    if quoted:
        assert charge <= charge_of(quote, prompt_tokens=prompt, completion_tokens=completion)
        seen["below the quote" if offer.price != before.price else "at the quote"] += 1
    chunks = random_race(draw)
    settlement = settle(charge, offer.shares, chunks)
    assert isinstance(settlement, Settlement)
    hosts = sum(leg.amount for leg in settlement.legs if leg.account.startswith("hosts/"))
    margin = sum(leg.amount for leg in settlement.legs if leg.account == "network/margin")
    assert hosts + margin == charge == settlement.host_share + settlement.margin
    assert hosts == settlement.host_share
    assert Fraction(hosts) >= charge * Fraction(offer.shares.host_share_basis_points, 10_000)
    assert Fraction(hosts) >= charge * Fraction(95, 100)
    assert hosts - charge * Fraction(offer.shares.host_share_basis_points, 10_000) < 1
    assert min((leg.amount for leg in settlement.legs), default=1) > 0
    with_receipt = {
        work.host
        for chunk in chunks
        for work in chunk.deliveries
        if work.claimed_tokens is not None
    }
    paid = {
        leg.account.removeprefix("hosts/")
        for leg in settlement.legs
        if leg.account.startswith("hosts/") and leg.account != "hosts/unclaimed"
    }
    assert paid <= with_receipt
    reservation = Reservation("r", ACCOUNT, None, charge, "open")
    transfers = charge_transfers(reservation, charge, settlement.legs)
    assert all(transfer.debit_account == ACCOUNT for transfer in transfers)
    seen[f"tier {tier}"] += 1
    seen["charged nothing"] += charge == 0
    seen["hosts paid"] += len(paid)


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    draw = Random(seed)  # noqa: S311 - the same requests each time
    seen: Counter[str] = Counter()
    began = time.perf_counter()
    tariffs = []
    for number in range(TARIFFS):
        tariff = random_tariff(draw, (1_000 + number) * DAY_US)
        tariffs.append((tariff, moved(draw, tariff)))
    seen["tariffs moved"] = sum(later.version > tariff.version for tariff, later in tariffs)
    for _ in range(requests):
        one_request(draw, *draw.choice(tariffs), seen)
    print(f"{requests:,} requests, no rule broken, in {time.perf_counter() - began:.1f} s")
    for name, count in sorted(seen.items()):
        print(f"  {name}: {count:,}")


if __name__ == "__main__":
    main()
