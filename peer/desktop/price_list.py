"""Price list and catalogue out of what `peerllm charter show --json` verified and printed."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peerllm.peer.desktop.money import Price
from peerllm.peer.desktop.state import parsed
from peerllm.peer.desktop.strings import tr

# Where a charter's folder keeps the root that all its signatures go back to.
ROOT_FILE: Final = "metadata/1.root.json"

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
    context_tokens: int = 0
    license: str = ""


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


def signed_models(printed: bytes) -> Mapping[str, tuple[str, str, int, str]]:
    """Digest, class, context and licence of the signed catalogue's models, by name.

    Licences as a coordinator tells them: signs that a terminal may not show are question marks.
    """
    charter = parsed(printed, _Charter)
    if charter is None:
        return {}
    return {
        name: (
            model.sha256,
            model.model_class,
            model.context_tokens,
            re.sub(r"[^ -~]", "?", model.license),
        )
        for name, model in charter.catalogue.models.items()
    }


def root_fault(folder: Path, root_digest: str) -> str:
    """Why a charter's folder is not of the network one was invited to; "" when it is.

    An invitation without a root's digest ("") says nothing of the charter.
    """
    if not root_digest:
        return ""
    try:
        found = hashlib.sha256((folder / ROOT_FILE).read_bytes()).hexdigest()
    except OSError as error:
        return error.strerror or ""
    if found == root_digest:
        return ""
    return tr(
        "Window",
        "this is the charter of another network than the one you were invited to: its root has "
        "the SHA-256 {found}, the invitation says {wanted}",
    ).format(found=f"{found[:12]}…", wanted=f"{root_digest[:12]}…")


def _worth(price: Price) -> int:
    return price.output_nano_usd_per_million * price.host_share_basis_points
