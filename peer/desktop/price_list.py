"""The public price list out of what `peerllm charter show --json` verified and printed."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from peerllm.peer.desktop.money import Price
from peerllm.peer.desktop.state import parsed

_NanoUsd = Annotated[int, Meta(ge=0, le=10**18)]


class _Price(msgspec.Struct, frozen=True):
    input_nano_usd_per_million: _NanoUsd
    output_nano_usd_per_million: _NanoUsd


class _Tier(msgspec.Struct, frozen=True):
    host_share_basis_points: Annotated[int, Meta(ge=0, le=10_000)]


class _Tariff(msgspec.Struct, frozen=True):
    tiers: dict[str, _Tier]
    prices: dict[str, dict[str, _Price]]


class _Model(msgspec.Struct, frozen=True):
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    model_class: str = ""


class _Catalogue(msgspec.Struct, frozen=True):
    models: dict[str, _Model]


class _Charter(msgspec.Struct, frozen=True):
    tariff: _Tariff
    catalogue: _Catalogue


def prices_of(printed: bytes) -> Mapping[str, Price]:
    """Prices by model digest, of the dearest tier: what is earned is at most by them."""
    charter = parsed(printed, _Charter)
    if charter is None:
        return {}
    found: dict[str, Price] = {}
    for name, model in charter.catalogue.models.items():
        offers = [
            Price(
                classes[key].input_nano_usd_per_million,
                classes[key].output_nano_usd_per_million,
                charter.tariff.tiers[tier].host_share_basis_points,
            )
            for tier, classes in charter.tariff.prices.items()
            if tier in charter.tariff.tiers
            for key in (model.model_class or name,)
            if key in classes
        ]
        if offers:
            found[model.sha256] = max(offers, key=_worth)
    return found


def _worth(price: Price) -> int:
    return price.output_nano_usd_per_million * price.host_share_basis_points
