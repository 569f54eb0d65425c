"""The four documents of a charter, typed: integers only, one spelling on disk, rules checked."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from peerllm.charter.errors import Malformed

MAXIMUM_DOCUMENT_BYTES: Final = 1024 * 1024
BASIS_POINTS: Final = 10_000
# The invariant of the whole network: hosts get at least 95% of what customers pay.
LEAST_HOST_SHARE_BASIS_POINTS: Final = 9_500
# One US dollar per token; whatever is above is a slip of the pen.
MAXIMUM_NANO_USD_PER_TOKEN: Final = 1_000_000_000
# The latest moment a tariff may begin, in epoch microseconds.
YEAR_2100_US: Final = 4_102_444_800_000_000
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

_NETWORK_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
BasisPoints = Annotated[int, msgspec.Meta(ge=0, le=BASIS_POINTS)]
ModelName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,95}\Z")]
Sha256Hex = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class SeatRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may stand beside whom, and how many seats one operator may hold for one model.

    Networks are compared by IPv4 /24 and IPv6 /48 prefix; the loopback range is one machine that
    its owner tests on and counts as no network.
    """

    distinct_operators_per_race: bool = True
    distinct_networks_per_race: bool = True
    maximum_seats_per_operator: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64


class CharterTerms(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="charter-terms/1",
):  # fmt: skip
    """How the network works, whoever runs it.

    `exposure_basis_points` bounds the share of one request's chunks that one operator may see; it
    holds once at least `exposure_minimum_operators` operators can serve the request's model.
    `hedge`: the backup of a race starts late instead of at once.
    """

    network: str
    version: Version = 1
    minimum_host_share_basis_points: BasisPoints = LEAST_HOST_SHARE_BASIS_POINTS
    race_size: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2
    hedge: bool = False
    exposure_basis_points: Annotated[int, msgspec.Meta(ge=1, le=BASIS_POINTS)] = 5_000
    exposure_minimum_operators: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 4
    seat_rule: SeatRule = SeatRule()


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


class CatalogueModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that hosts may load, named by the SHA-256 of its GGUF file.

    `embedded`: the file comes with the software, so a host need not fetch it.
    """

    sha256: Sha256Hex
    context_tokens: Annotated[int, msgspec.Meta(ge=16, le=10_000_000)]
    license: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    embedded: bool = False

    @property
    def digest(self) -> bytes:
        """The SHA-256 as 32 bytes, as it travels on the wire."""
        return bytes.fromhex(self.sha256)


class ModelCatalogue(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="model-catalogue/1",
):  # fmt: skip
    """The approved models by name."""

    version: Version = 1
    models: Mapping[ModelName, CatalogueModel]


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


Document = TypeVar("Document", CharterTerms, Tariff, ModelCatalogue, SafetyStandard)


def write_document(document: Document) -> bytes:
    """Return the one spelling of a document: UTF-8 JSON, keys sorted, two spaces, a final newline.

    Raises Malformed when a value is out of bounds or breaks a rule of its own document.
    """
    raw = _spelling(document)
    read_document(raw, type(document))
    return raw


def read_document(raw: bytes, kind: type[Document]) -> Document:
    """Parse and check one document; raises Malformed with a sentence that says what to mend."""
    name = document_name(kind)
    if len(raw) > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(f"{name}: {len(raw)} bytes, at most {MAXIMUM_DOCUMENT_BYTES} are allowed")
    try:
        document = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{name}: {error}") from error
    if _spelling(document) != raw:
        raise Malformed(
            f"{name}: not in its one spelling (keys sorted, two spaces, whole numbers, every field"
            " once); write it with this software"
        )
    for fault in _own_faults(document):
        raise Malformed(f"{name}: {fault}")
    return document


def check_together(terms: CharterTerms, tariff: Tariff, catalogue: ModelCatalogue) -> None:
    """Check what no document can promise alone; raises Malformed."""
    if tariff.host_share_basis_points < terms.minimum_host_share_basis_points:
        raise Malformed(
            f"tariff: hosts would get {_percent(tariff.host_share_basis_points)}, the charter"
            f" promises them at least {_percent(terms.minimum_host_share_basis_points)}"
        )
    for model in tariff.prices:
        if model not in catalogue.models:
            raise Malformed(
                f"tariff: {model!r} has a price but is not in the model catalogue; add it there or"
                " take the price out"
            )


def document_name(kind: type[Document]) -> str:
    """Return a document's name for people and, with .json, for its file: "tariff"."""
    tag = kind.__struct_config__.tag
    return str(tag).partition("/")[0]


def _spelling(document: msgspec.Struct) -> bytes:
    compact = msgspec.json.encode(document, order="sorted")
    return msgspec.json.format(compact, indent=2) + b"\n"


def _own_faults(document: object) -> Iterator[str]:
    match document:
        case CharterTerms():
            if not _NETWORK_NAME.fullmatch(document.network):
                yield (
                    f"{document.network[:80]!r} cannot name a network: take 1 to 63 small letters,"
                    " digits and hyphens"
                )
            yield from _share_faults(document.minimum_host_share_basis_points)
        case Tariff():
            yield from _share_faults(document.host_share_basis_points)
            yield from _price_faults(document)
        case ModelCatalogue():
            yield from _catalogue_faults(document)
        case SafetyStandard():
            yield from _threshold_faults(document)
            yield from _band_faults(document)


def _share_faults(basis_points: int) -> Iterator[str]:
    if basis_points < LEAST_HOST_SHARE_BASIS_POINTS:
        yield (
            f"a host share of {_percent(basis_points)} is below"
            f" {_percent(LEAST_HOST_SHARE_BASIS_POINTS)}, the least any charter may promise"
        )


def _price_faults(tariff: Tariff) -> Iterator[str]:
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


def _catalogue_faults(catalogue: ModelCatalogue) -> Iterator[str]:
    named: dict[str, str] = {}
    for name, model in catalogue.models.items():
        if model.sha256 in named:
            yield f"{named[model.sha256]!r} and {name!r} are the same file; keep one name"
        named[model.sha256] = name


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


def _percent(basis_points: int) -> str:
    return f"{basis_points // 100}.{basis_points % 100:02}%"
