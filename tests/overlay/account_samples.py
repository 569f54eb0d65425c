"""An account as a coordinator tells it: a newcomer with a strike, in a region on its way."""

from peerllm.overlay.account_messages import (
    Account,
    EarnedDay,
    MonthTold,
    PaidOut,
    RegionTold,
    Release,
    StrikeTold,
)

DAY_US = 86_400_000_000
USD = 10**9
# 2023-11-14 22:13:20 UTC
AS_OF_US = 1_700_000_000_000_000
TODAY_US = AS_OF_US // DAY_US * DAY_US

ACCOUNT = Account(
    as_of_us=AS_OF_US,
    earned=50 * USD,
    balance=30 * USD,
    in_escrow=12 * USD,
    releases=[
        Release(at_us=AS_OF_US + 2 * DAY_US, amount=5 * USD),
        Release(at_us=AS_OF_US + 9 * DAY_US, amount=7 * USD),
    ],
    trusted=False,
    trusted_from_us=AS_OF_US + 40 * DAY_US,
    receipts_missing=120,
    paid_out=20 * USD,
    payouts=[PaidOut(batch="2023-10", at_us=AS_OF_US - 14 * DAY_US, amount=20 * USD)],
    minimum_payout=20 * USD,
    payout_every_days=30,
    days=[
        EarnedDay(begins_us=TODAY_US - 15 * DAY_US, amount=3 * USD),
        EarnedDay(begins_us=TODAY_US - DAY_US, amount=2 * USD),
        EarnedDay(begins_us=TODAY_US, amount=USD // 4),
    ],
    strikes=[
        StrikeTold(
            rule="overstated_tokens",
            at_us=AS_OF_US - 3 * DAY_US,
            appeal_until_us=AS_OF_US + 27 * DAY_US,
            weight=1,
        )
    ],
    suspension_weight=3,
    region=RegionTold(
        name="bavaria",
        status="active",
        contact="stewards@bavaria.example",
        months=[
            MonthTold(begins_us=1_693_526_400_000_000, revenue=900 * USD, active_hosts=6),
            MonthTold(begins_us=1_696_118_400_000_000, revenue=1_200 * USD, active_hosts=8),
        ],
        active_hosts_needed=5,
        federated_hosts_needed=50,
        federated_revenue_needed=50_000 * USD,
    ),
)
