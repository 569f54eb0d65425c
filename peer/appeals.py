"""Whether this host may appeal against a strike, by what its coordinator has told."""

from collections.abc import Sequence
from datetime import UTC, datetime

from peerllm.overlay.account_messages import StrikeTold


def appeal_refusal(number: int, strikes: Sequence[StrikeTold], now_us: int) -> str:
    """Why there is no appealing against a strike, as far as this host has been told; else ""."""
    strike = next((one for one in strikes if one.number == number), None)
    if strike is None:
        known = ", ".join(str(one.number) for one in strikes if one.number) or "none"
        return f"the coordinator has told of no strike {number}; it told of: {known}"
    if strike.withdrawn_at_us is not None:
        return f"strike {number} was withdrawn on {_day(strike.withdrawn_at_us)}"
    if strike.decide_by_us is not None or strike.dismissed_at_us is not None:
        return f"an appeal against strike {number} was taken down already"
    if now_us >= strike.appeal_until_us:
        return f"the time to appeal against strike {number} ended on {_day(strike.appeal_until_us)}"
    return ""


def _day(moment_us: int) -> str:
    return f"{datetime.fromtimestamp(moment_us / 1e6, UTC):%Y-%m-%d}"
