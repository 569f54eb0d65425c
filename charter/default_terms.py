"""The terms of a new network, written to be read; its founders may decide otherwise."""

from typing import Final

from peerllm.charter.governance import (
    AmendmentRule,
    FederationRule,
    Fraction,
    LeadershipClause,
)
from peerllm.charter.promises import (
    EscrowRule,
    MarginBase,
    SeatPolicy,
    StrikePolicy,
    Tier,
)
from peerllm.charter.terms import CharterTerms

HALF: Final = Fraction(numerator=1, denominator=2)
TWO_THIRDS: Final = Fraction(numerator=2, denominator=3)

_PRINCIPLES: Final = (
    "The network serves its customers and the people whose machines do the work. Whoever runs it"
    " is bound by this charter like everybody else.",
    "At least 95% of what customers pay for answers goes to the hosts that produced them. The rest"
    " runs the network.",
    "Prices are published. They change by the published rule, with notice, and never backwards.",
    "Prompts and answers are not kept. What is kept is who did how much work, and what it cost.",
    "Every promise here that software can keep is kept by software, and anybody can check it from"
    " the public files.",
    "A customer pays once for an answer that was delivered and nothing for one that was not.",
    "Hosts decide when and how much their machines work. To stop is no offence.",
)

_TIERS: Final = {
    "community": Tier(
        commitment="None beyond correct work: the machine serves when its owner lets it.",
        treatment="Work by measured speed and reliability, paid by the tariff's rule.",
    ),
    "enterprise": Tier(
        commitment="Capacity kept available at announced times, by contract.",
        treatment="A higher share of the chunk's published pool, as the tariff says; it never comes"
        " out of what other hosts have earned.",
    ),
    "dedicated": Tier(
        commitment="Run by the network itself, for when no other host can answer in time.",
        treatment="Used last. Each use is recorded as such and published.",
    ),
}

# Wrong work done on purpose weighs most; what a fault of the machine can cause weighs least.
_STRIKE_WEIGHTS: Final = {
    "forged_receipt": 3,
    "replayed_receipt": 3,
    "wrong_model": 2,
    "wrong_answer": 2,
    "overstated_tokens": 1,
    "malformed_frame": 1,
}

_AMENDMENTS: Final = {
    "charter-terms": AmendmentRule(notice_days=30, quorum=TWO_THIRDS, supermajority=TWO_THIRDS),
    "tariff": AmendmentRule(notice_days=30, quorum=TWO_THIRDS, supermajority=TWO_THIRDS),
    "safety-standard": AmendmentRule(notice_days=14, quorum=TWO_THIRDS, supermajority=TWO_THIRDS),
    "model-catalogue": AmendmentRule(notice_days=7, quorum=HALF, supermajority=TWO_THIRDS),
    "region": AmendmentRule(notice_days=14, quorum=HALF, supermajority=TWO_THIRDS),
    # A lost key weakens every other decision until it is replaced.
    "stewards": AmendmentRule(notice_days=3, quorum=TWO_THIRDS, supermajority=TWO_THIRDS),
}


def first_terms(network: str) -> CharterTerms:
    """Return the terms of a new network: 95% for hosts, races of two, distinct operators."""
    return CharterTerms(
        network=network,
        principles=_PRINCIPLES,
        no_guaranteed_earnings=(
            "Nobody is promised earnings. A host is paid for work that it was given and did; how"
            " much that is depends on demand, on the machine and on other hosts, and may be"
            " nothing. Electricity and wear are the host's own cost."
        ),
        margin_base=MarginBase(
            statement=(
                "Shares are taken of the charge for answers, after the taxes collected with it and"
                " before the payment processor's fee. That fee is shown as a line of its own and is"
                " paid out of the network's margin, not out of the hosts' share."
            )
        ),
        tiers=_TIERS,
        strikes=StrikePolicy(
            weights=_STRIKE_WEIGHTS,
            statement=(
                "A strike is a violation with evidence. Slow, busy, switched-off or unlucky"
                " machines get no strike: they get less work until they do better. Whoever is given"
                " a strike is told the rule, the time and the evidence, and may appeal; people who"
                " did not record it decide. Strikes are published as commitments that name nobody."
            ),
        ),
        seats=SeatPolicy(
            statement=(
                "A seat is never taken for underperformance. It may be paused; then the reason and"
                " the way back are stated. Who wants a seat where none is free waits in line, first"
                " come first served."
            )
        ),
        escrow=EscrowRule(
            statement=(
                "A newcomer's pay is entered at once and rests until the date shown beside it. It"
                " is lost only for work that was proven false, after the appeal."
            )
        ),
        federation=FederationRule(
            statement=(
                "A region that carries itself governs its own capacity and seats. Prices and safety"
                " stay the same everywhere."
            )
        ),
        amendments=_AMENDMENTS,
        leadership=LeadershipClause(
            interests=("hosts", "customers", "operator"),
            largest_part=HALF,
            statement=(
                "Stewards sign what the network promises. Hosts, customers and the operator each"
                " have one at least, and no side has more than half of the seats."
            ),
            recusal=(
                "A steward who, or whose employer or family, would gain from a proposal more than"
                " others of the same interest recuses himself or herself; so does a steward whose"
                " own seat or strike is decided. A recused steward does not count for the quorum."
            ),
        ),
    )
