"""The network's models as the window lists them, and this host's place: without a widget."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from peerllm.overlay.catalogue_messages import Catalogue, ModelTold
from peerllm.peer.catalogue_shown import CatalogueRow, CatalogueShown
from peerllm.peer.desktop.presentation import Tone, grouped, size
from peerllm.peer.desktop.state import HostSeen
from peerllm.peer.desktop.strings import counted, tr


@dataclass(frozen=True)
class NetworkRow:
    """One model of the network. `can_get`: there is something to fetch, and room for it here."""

    name: str
    digest: str
    facts: str
    fit: str
    fits: bool
    seats: str
    seats_tone: Tone
    is_here: bool
    recommended: bool
    can_get: bool


@dataclass(frozen=True)
class Standing:
    """Where this host stands with the network: what is so, and what happens next.

    `take` and `leave` name a region in which seats can be taken or the line left; `send_id`: the
    host's id is what the network needs now.
    """

    title: str
    text: str
    tone: Tone
    take: str = ""
    leave: str = ""
    send_id: bool = False

    @property
    def needs_owner(self) -> bool:
        """Whether anything is left to be done or waited for."""
        return bool(self.take or self.leave or self.send_id)


@dataclass(frozen=True)
class Check:
    """Whether a catalogue is what the stewards signed; `altered` names what differs."""

    sentence: str
    well: bool
    altered: frozenset[str] = frozenset()


def network_rows(shown: CatalogueShown, altered: frozenset[str] = frozenset()) -> list[NetworkRow]:
    """The models, the recommended one first, then what fits, the largest first."""
    told = {model.digest.hex(): model for model in shown.catalogue.models}
    rows = [_row(row, told[row.digest], shown, altered) for row in shown.models]
    by_name = {row.name: row for row in shown.models}
    return sorted(
        rows,
        key=lambda row: (
            not row.recommended,
            not row.fits,
            -by_name[row.name].file_bytes,
            row.name,
        ),
    )


def _row(
    row: CatalogueRow, told: ModelTold, shown: CatalogueShown, altered: frozenset[str]
) -> NetworkRow:
    facts = [
        tr("Network", "class {name}").format(name=row.model_class),
        row.license,
        tr("Network", "{count} tokens context").format(count=grouped(row.context_tokens)),
    ]
    if row.file_bytes:
        facts.insert(0, tr("Network", "{size} on disk").format(size=size(row.file_bytes)))
    seats, tone = seats_sentence(row, told, shown.catalogue)
    return NetworkRow(
        name=row.name,
        digest=row.digest,
        facts=" · ".join(facts),
        fit=fit_sentence(row, shown),
        fits=row.fits,
        seats=seats,
        seats_tone=tone,
        is_here=row.is_here,
        recommended=row.recommended and row.name not in altered,
        can_get=row.fits and not row.is_here and row.name not in altered,
    )


def fit_sentence(row: CatalogueRow, shown: CatalogueShown) -> str:
    """Whether a model fits this computer, and why not."""
    match row.misfit:
        case "not_served":
            return tr("Network", "The network has approved it and has no copy to hand out yet.")
        case "processor":
            return tr("Network", "Cannot run here: {why}").format(why=shown.processor_fault)
        case "memory":
            return tr(
                "Network", "Too large now: needs about {need} of memory, {free} are free"
            ).format(need=size(row.memory_bytes), free=size(shown.memory_bytes))
        case "disk":
            return tr("Network", "No room: {need} to download, {free} of the disk are free").format(
                need=size(row.download_bytes), free=size(shown.disk_bytes or 0)
            )
    fits = tr("Network", "Fits this computer: about {need} of memory")
    if row.memory_bytes:
        sentence = fits.format(need=size(row.memory_bytes))
    else:
        sentence = tr("Network", "Is on this computer")
    if row.tokens_per_second >= 1:
        rate = tr("Network", "about {rate} tokens/s, reckoned from what was measured here")
        sentence += ", " + rate.format(rate=f"{row.tokens_per_second:.0f}")
    return sentence


def seats_sentence(row: CatalogueRow, told: ModelTold, catalogue: Catalogue) -> tuple[str, Tone]:
    """Whether there is a seat for a model."""
    match row.seats:
        case "seated":
            return tr("Network", "You hold a seat for it"), "good"
        case "offered":
            return tr("Network", "A seat for it is offered to you"), "good"
        case "in_line":
            place = min(one.place for one in catalogue.places if one.digest == told.digest)
            return tr("Network", "You are in line: place {place}").format(place=place), "waiting"
        case "open":
            free = counted(
                told.free_seats - told.waiting,
                tr("Network", "One seat is free"),
                tr("Network", "{count} seats are free"),
            )
            return free, "good"
    if told.waiting:
        waiting = counted(
            told.waiting,
            tr("Network", "No seat is free; one host waits"),
            tr("Network", "No seat is free; {count} hosts wait"),
        )
        return waiting, "quiet"
    return tr("Network", "No seat is free"), "quiet"


def standing_of(state: HostSeen) -> Standing | None:
    """Where a host that runs stands; None while nothing is to be said of it."""
    is_silent = not state.status.connected and state.ending.event not in {"", "connected"}
    # A seat that was told of once may have been taken since: nobody is told who may not ask.
    if state.catalogue is not None and not (is_silent and state.catalogue.seat is not None):
        return standing(state.catalogue)
    if not is_silent:
        return None
    return Standing(
        tr("Network", "No word from the network"),
        tr(
            "Network",
            "A coordinator answers only computers that hold a seat or are in line for one. If "
            "yours is new, send its host ID to whoever invited you; it asks again by itself. If "
            "it has a seat, check that this computer is online.",
        ),
        "waiting",
        send_id=True,
    )


def standing(catalogue: Catalogue) -> Standing:
    """What a host without work wants to know first."""
    names = {model.digest: model.name for model in catalogue.models}
    offers = [place for place in catalogue.places if place.offered_until_us]
    if offers:
        until = min(place.offered_until_us for place in offers)
        text = tr(
            "Network",
            "Region {region} keeps a seat for {models} until {date}. Take it, and this "
            "computer is connected within seconds; let it lapse, and it goes to the next in line.",
        ).format(
            region=offers[0].region,
            models=_listed([names.get(one.digest, "") for one in offers]),
            date=datetime.fromtimestamp(until / 1e6).strftime("%d %B %Y"),
        )
        title = tr("Network", "A seat is offered to you")
        return Standing(title, text, "good", take=offers[0].region, leave=offers[0].region)
    if catalogue.seat is not None:
        held = [names[one] for one in catalogue.seat.digests if one in names]
        text = tr("Network", "In region {region}, for {models}.")
        title = tr("Network", "You hold a seat")
        return Standing(
            title, text.format(region=catalogue.seat.region, models=_listed(held)), "good"
        )
    if catalogue.places:
        return _in_line(catalogue, names)
    contacts = [
        tr("Network", "{region}: {contact}").format(region=one.name, contact=one.contact)
        for one in catalogue.regions
        if one.takes_hosts
    ]
    text = tr(
        "Network",
        "A computer is put in line by the network's operators, by its host ID. Send yours to "
        "whoever invited you, or to a region:",
    )
    if not contacts:
        text = tr(
            "Network",
            "A computer is put in line by the network's operators, by its host ID. Send yours to "
            "whoever invited you.",
        )
    title = tr("Network", "No seat, and not in line yet")
    return Standing(title, "\n".join([text, *contacts]), "waiting", send_id=True)


def _in_line(catalogue: Catalogue, names: Mapping[bytes, str]) -> Standing:
    first = catalogue.places[0]
    lines = [
        tr("Network", "{model} in {region}: place {place}, since {date}.").format(
            model=names.get(one.digest, one.digest.hex()[:12]),
            region=one.region,
            place=one.place,
            date=datetime.fromtimestamp(one.since_us / 1e6).strftime("%d %B %Y"),
        )
        for one in catalogue.places
    ]
    after = tr(
        "Network",
        "When a seat is free for you it is kept for some days, and this window tells you. Leave "
        "the host running, or look in now and then.",
    )
    title = tr("Network", "In line for a seat")
    return Standing(title, "\n".join([*lines, after]), "waiting", leave=first.region)


def _listed(names: list[str]) -> str:
    return ", ".join(name for name in names if name) or tr("Network", "no model of the catalogue")


def check_of(catalogue: Catalogue, signed: Mapping[str, tuple[str, str, int, str]]) -> Check:
    """Compare what was told with the signed catalogue; empty: there is none to compare with.

    `signed` has digest, class, context and licence by name.
    """
    if not signed:
        return Check(
            tr(
                "Network",
                "As the network's coordinator tells it. Choose the charter's folder in Settings to "
                "have it compared with what the stewards signed.",
            ),
            well=True,
        )
    altered = frozenset(
        model.name
        for model in catalogue.models
        if signed.get(model.name)
        != (model.digest.hex(), model.model_class, model.context_tokens, model.license)
    )
    if altered:
        sentence = tr(
            "Network",
            "Not what the stewards signed: {names}. Do not serve it, and tell the network's "
            "operators; or the charter's folder here is of another day.",
        )
        return Check(sentence.format(names=", ".join(sorted(altered))), well=False, altered=altered)
    return Check(
        tr(
            "Network", "Compared with the signed charter: files, classes and licences are the same."
        ),
        well=True,
    )
