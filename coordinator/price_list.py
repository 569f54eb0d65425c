"""Which price a request is served at: the tariff in force, or the quote that holds against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from peerllm.charter.loading import Charter
from peerllm.charter.tariff import PriceTable, Tariff, TokenPrice
from peerllm.coordinator.quotes import Quote
from peerllm.coordinator.settlement import Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a request costs and how its charge is shared. `quote_id` of the quote that it cites."""

    tier: str
    tariff_version: int
    price: TokenPrice
    shares: Shares
    quote_id: str | None = None


class PriceList:
    """The tariff as requests ask it. `classes` gives each served model's class."""

    def __init__(
        self,
        tariff: Tariff,
        classes: Mapping[str, str],
        *,
        minimum_host_share_basis_points: int,
        now_us: Callable[[], int],
    ) -> None:
        self._tariff = tariff
        self._classes = classes
        self._minimum = minimum_host_share_basis_points
        self._now_us = now_us

    @property
    def quote_lifetime_us(self) -> int:
        """How long a quote given now holds."""
        return self._tariff.quote_lifetime_seconds * 1_000_000

    def offer(self, model: str, tier: str) -> Offer | None:
        """The price in force now; None when this tier has none for the model."""
        in_force = self._tariff.in_force_at(self._now_us())
        if in_force is None:
            return None
        price = _price(in_force.prices, tier, self._classes.get(model))
        if price is None:
            return None
        return Offer(
            tier=tier,
            tariff_version=in_force.version,
            price=price,
            shares=Shares(
                host_share_basis_points=self._tariff.tiers[tier].host_share_basis_points,
                backup_share_basis_points=self._tariff.backup_share_basis_points,
                minimum_host_share_basis_points=self._minimum,
            ),
        )

    def quoted_offer(self, quote: Quote) -> Offer | None:
        """The quoted price, or today's where that is lower: a quote is a ceiling."""
        offer = self.offer(quote.model, quote.tier)
        if offer is None:
            return None
        return replace(offer, price=lower_price(offer.price, quote), quote_id=quote.id.hex())


def price_list_of(charter: Charter, now_us: Callable[[], int]) -> PriceList:
    """The price list of a verified charter."""
    return PriceList(
        charter.tariff,
        {name: model.model_class for name, model in charter.catalogue.models.items()},
        minimum_host_share_basis_points=charter.terms.minimum_host_share_basis_points,
        now_us=now_us,
    )


def lower_price(price: TokenPrice, quote: Quote) -> TokenPrice:
    """The lower of the two on either side."""
    return TokenPrice(
        input_nano_usd_per_million=min(
            price.input_nano_usd_per_million, quote.input_nano_usd_per_million
        ),
        output_nano_usd_per_million=min(
            price.output_nano_usd_per_million, quote.output_nano_usd_per_million
        ),
    )


def _price(prices: PriceTable, tier: str, model_class: str | None) -> TokenPrice | None:
    classes = prices.get(tier)
    return None if classes is None or model_class is None else classes.get(model_class)
