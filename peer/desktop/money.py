"""What hosting costs in power, and what it may bring: arithmetic only, nothing promised."""

import math
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

_JOULES_PER_KWH: Final = 3_600_000
_MILLION: Final = 1_000_000
_NANO: Final = 1_000_000_000


class PowerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner says about power. `extra_watts`: drawn on top while the machine answers."""

    # In units of `currency`. More than a hundred of any large currency is a slip of the pen,
    # but some currencies are small.
    price_per_kwh: Annotated[float, Meta(ge=0, le=100_000)] | None = None
    currency: Annotated[str, Meta(pattern=r"\A[^\x00-\x1f<>&]{1,8}\Z")] = "USD"
    extra_watts: Annotated[float, Meta(gt=0, le=5000)] = 30.0


@dataclass(frozen=True)
class Price:
    """What customers pay for a model, in nano-USD per million tokens, and the hosts' share."""

    input_nano_usd_per_million: int
    output_nano_usd_per_million: int
    host_share_basis_points: int


@dataclass(frozen=True)
class PowerFault:
    """Why what was typed is no price or power."""

    kind: str


def read_number(text: str) -> float | PowerFault:
    """A number as people type it, with a comma or a point."""
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return PowerFault("no_number")
    if not math.isfinite(value):
        return PowerFault("no_number")
    return value


def read_price(text: str) -> float | PowerFault | None:
    """An electricity price; None for an empty field."""
    if not text.strip():
        return None
    value = read_number(text)
    if isinstance(value, PowerFault):
        return value
    if value < 0:
        return PowerFault("negative")
    return value if value <= 100_000 else PowerFault("too_high")


def read_watts(text: str) -> float | PowerFault:
    """The power drawn while answering."""
    value = read_number(text)
    if isinstance(value, PowerFault):
        return value
    if value <= 0:
        return PowerFault("not_positive")
    return value if value <= 5000 else PowerFault("too_high")


def energy_kwh(tokens: int, tokens_per_second: float, watts: float) -> float | None:
    """What so many answer tokens took; None while the speed is not known."""
    if tokens_per_second <= 0:
        return None
    return tokens / tokens_per_second * watts / _JOULES_PER_KWH


def cost(kwh: float | None, power: PowerSettings) -> float | None:
    """Of so much energy, in the owner's currency; None while it is not known."""
    if kwh is None or power.price_per_kwh is None:
        return None
    return kwh * power.price_per_kwh


def cost_per_million_tokens(tokens_per_second: float, power: PowerSettings) -> float | None:
    """Power for a million answer tokens, in the owner's currency; None while not known."""
    return cost(energy_kwh(_MILLION, tokens_per_second, power.extra_watts), power)


def most_earned_usd(prompt_tokens: int, answer_tokens: int, price: Price) -> float:
    """At most what such work was paid with, in US dollars: all of it won, none in escrow."""
    charge = (
        prompt_tokens * price.input_nano_usd_per_million
        + answer_tokens * price.output_nano_usd_per_million
    ) / _MILLION
    return charge * price.host_share_basis_points / 10_000 / _NANO
