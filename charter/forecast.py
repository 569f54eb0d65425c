"""A yearly budget from a usage profile, with the worst that the tariff's own rule allows."""

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from peerllm.charter.errors import Malformed
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES
from peerllm.charter.tariff import TOKENS_PER_PRICE, TokenPrice
from peerllm.charter.tariff_rule import NOTICE_DAYS, QUARTER_DAYS, lowest_and_highest

YEAR_DAYS: Final = 365


class UsageProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a school uses a model: by person and day, tokens by request."""

    people: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    requests_per_person_and_day: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    input_tokens_per_request: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    output_tokens_per_request: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    days_per_year: Annotated[int, msgspec.Meta(ge=1, le=YEAR_DAYS)]

    @property
    def requests_per_year(self) -> int:
        """All requests of all people."""
        return self.people * self.requests_per_person_and_day * self.days_per_year


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A year's cost in nano-USD: at today's price, and when every move is the largest allowed.

    `worst_prices` are the prices of the worst case by the day of the year from which they count.
    """

    requests: int
    at_todays_price: int
    worst_case: int
    worst_prices: tuple[tuple[int, TokenPrice], ...]


def read_profile(raw: bytes) -> UsageProfile:
    """Parse a usage profile; raises Malformed with the field that is wrong."""
    if len(raw) > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(f"the profile has {len(raw)} bytes, at most {MAXIMUM_DOCUMENT_BYTES}")
    try:
        return msgspec.json.decode(raw, type=UsageProfile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the usage profile: {error}") from error


def forecast(profile: UsageProfile, price: TokenPrice) -> Forecast:
    """Work out a year's cost.

    The worst case takes the days of use to lie as late in the year as they can, and every price to
    rise as soon and as far as the rule allows: first after the notice, then once a quarter.
    """
    prices = [(0, price)]
    for day in range(NOTICE_DAYS, YEAR_DAYS, QUARTER_DAYS):
        prices.append((day, _risen(prices[-1][1])))
    first_day = YEAR_DAYS - profile.days_per_year
    by_day = [
        next(found for start, found in reversed(prices) if start <= day)
        for day in range(first_day, YEAR_DAYS)
    ]
    per_day = profile.people * profile.requests_per_person_and_day
    return Forecast(
        requests=profile.requests_per_year,
        at_todays_price=profile.requests_per_year * request_cost(profile, price),
        worst_case=sum(per_day * request_cost(profile, found) for found in by_day),
        worst_prices=tuple(prices),
    )


def request_cost(profile: UsageProfile, price: TokenPrice) -> int:
    """Return what one request costs, rounded as the coordinator rounds a charge."""
    return (
        profile.input_tokens_per_request * price.input_nano_usd_per_million
        + profile.output_tokens_per_request * price.output_nano_usd_per_million
    ) // TOKENS_PER_PRICE


def _risen(price: TokenPrice) -> TokenPrice:
    return TokenPrice(
        input_nano_usd_per_million=lowest_and_highest(price.input_nano_usd_per_million)[1],
        output_nano_usd_per_million=lowest_and_highest(price.output_nano_usd_per_million)[1],
    )
