"""The safety standard: which texts are refused."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from peerllm.charter.spelling import Version

# "overall" is unsafe in any way: a gate may be sure of that before it is sure of which.
SAFETY_CATEGORIES: Final = (
    "overall",
    "sexual",
    "minors",
    "hate",
    "harassment",
    "self_harm",
    "violence",
    "illicit",
    "weapons",
    "cyber",
    "privacy",
    "jailbreak",
    "prompt_injection",
)


class UncertainBand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between which scores, in thousandths, the gate alone does not decide.

    Below `from_milli` a text is allowed at once, from `certain_milli` on it is refused at once.
    Between the two a stronger judge decides, where the coordinator has one; else the threshold.
    """

    from_milli: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    certain_milli: Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class SafetyStandard(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="safety-standard/1",
):  # fmt: skip
    """From which score on, in thousandths, a text is refused in each category.

    An answer is refused from `answer_margin_milli` above that (at most 1,000): it is judged in
    windows, each a chance to err, after its prompt has passed. `bands_milli` are the uncertain
    bands by category, for answers moved up by the same margin; a standard without them is spelled
    without them, so that software that knows none reads it too.
    """

    version: Version = 1
    thresholds_milli: Mapping[str, int]
    answer_margin_milli: Annotated[int, msgspec.Meta(ge=0, le=500)] = 0
    bands_milli: Mapping[str, UncertainBand] | msgspec.UnsetType = msgspec.UNSET


def standard_faults(standard: SafetyStandard) -> Iterator[str]:
    """Yield a sentence for each rule that the standard breaks."""
    yield from _threshold_faults(standard)
    yield from _band_faults(standard)


def _threshold_faults(standard: SafetyStandard) -> Iterator[str]:
    for category in SAFETY_CATEGORIES:
        if category not in standard.thresholds_milli:
            yield f"the category {category!r} has no threshold"
    for category, threshold in standard.thresholds_milli.items():
        if category not in SAFETY_CATEGORIES:
            yield f"unknown category {category!r}"
        if not 1 <= threshold <= 1_000:
            yield f"the threshold of {category!r} is {threshold}, it must be from 1 to 1000"


def _band_faults(standard: SafetyStandard) -> Iterator[str]:
    bands = {} if standard.bands_milli is msgspec.UNSET else standard.bands_milli
    for category, band in bands.items():
        threshold = standard.thresholds_milli.get(category)
        if threshold is None:
            yield f"the uncertain band of {category!r} belongs to no threshold"
        elif not band.from_milli <= threshold <= band.certain_milli:
            yield (
                f"the uncertain band of {category!r} is {band.from_milli} to"
                f" {band.certain_milli}, it must hold the threshold {threshold}"
            )
