"""The tariff: the public price list and the rule by which hosts share what is paid."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from peerllm.charter.spelling import (
    LEAST_HOST_SHARE_BASIS_POINTS,
    YEAR_2100_US,
    BasisPoints,
    ModelName,
    Version,
    share_faults,
)

# One US dollar per token; whatever is above is a slip of the pen.
MAXIMUM_NANO_USD_PER_TOKEN: Final = 1_000_000_000


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a customer pays for one model, in nano-USD (10**-9 US dollars) per token."""

    input_nano_usd_per_token: int
    output_nano_usd_per_token: int


class Tariff(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="tariff/1",
):  # fmt: skip
    """The public price list and the published rule by which hosts share what is paid.

    `host_share_basis_points` of every charge go to hosts. Of each chunk's pool,
    `backup_share_basis_points` are shared by the backups with a valid receipt in proportion to the
    tokens they delivered, and the rest by those whose tokens were released.
    """

    version: Version = 1
    valid_from_us: Annotated[int, msgspec.Meta(ge=0, le=YEAR_2100_US)] = 0
    prices: Mapping[ModelName, ModelPrice]
    host_share_basis_points: BasisPoints = LEAST_HOST_SHARE_BASIS_POINTS
    backup_share_basis_points: BasisPoints = 2_000


def tariff_faults(tariff: Tariff) -> Iterator[str]:
    """Yield a sentence for each rule that the tariff breaks."""
    yield from share_faults(tariff.host_share_basis_points)
    for model, price in tariff.prices.items():
        for side, amount in (
            ("input", price.input_nano_usd_per_token),
            ("output", price.output_nano_usd_per_token),
        ):
            if amount < 0:
                yield f"the {side} price of {model!r} is negative ({amount} nano-USD per token)"
            if amount > MAXIMUM_NANO_USD_PER_TOKEN:
                yield (
                    f"the {side} price of {model!r} is {amount} nano-USD per token, more than one"
                    " US dollar"
                )
