"""A federated region's own capacity, written down for its keys to sign."""

from dataclasses import dataclass
from pathlib import Path

from peerllm.charter.documents import write_document
from peerllm.charter.errors import Malformed
from peerllm.charter.folder import put_file
from peerllm.charter.region_record import LocalCapacity, capacity_faults
from peerllm.charter.spelling import BASIS_POINTS
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.region_view import RegionView


@dataclass(frozen=True, slots=True)
class CapacityOptions:
    """What a region decides: MODEL=SEATS, percent of utilisation, and the file to write."""

    seats: tuple[str, ...]
    utilisation_percent: int | None
    out: Path


def draft_capacity(view: RegionView, region: str, options: CapacityOptions) -> str:
    """Write a region's next capacity and return what is to be done with it.

    Models that are not named keep the seats they have. Raises a CharterError or CoordinatorError.
    """
    record = view.published(region)
    old = view.charter.capacities.get(region)
    policy = view.charter.terms.seats
    seats = {} if old is None else dict(old.seats)
    for text in options.seats:
        model, number = _model_seats(view, text)
        seats[model] = number
    percent = options.utilisation_percent
    if percent is not None:
        target = percent * BASIS_POINTS // 100
    elif old is not None:
        target = old.target_utilisation_basis_points
    else:
        target = policy.target_utilisation_basis_points
    capacity = LocalCapacity(
        region=region,
        version=1 if old is None else old.version + 1,
        seats=seats,
        target_utilisation_basis_points=target,
    )
    for fault in capacity_faults(capacity, record):
        raise Malformed(fault)
    put_file(options.out, write_document(capacity))
    return (
        f"Wrote {options.out}. The region's keys sign it with: peerllm charter capacity sign; then"
        " the operator runs: peerllm charter capacity publish"
    )


def _model_seats(view: RegionView, text: str) -> tuple[str, int]:
    model, equals, number = text.partition("=")
    if not equals or not number.isascii() or not number.isdigit() or len(number) > 7:
        raise CoordinatorError(f"--set takes MODEL=SEATS with a whole number, not {text[:120]!r}")
    view.digest(model)
    return model, int(number)
