"""What differs between two versions of a charter, field by field, for people and for machines."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from peerllm.charter.stewards import Signatories


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One value before and after; None where there is none. `place` is a path such as a.b[2]."""

    file: str
    place: str
    before: str | None
    after: str | None


def document_differences(
    old: Mapping[str, bytes], new: Mapping[str, bytes]
) -> tuple[Difference, ...]:
    """Return every field that differs between two sets of files, in the order of their names."""
    return tuple(
        difference
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
        for difference in _file_differences(name, old.get(name), new.get(name))
    )


def signatory_differences(old: Signatories | None, new: Signatories) -> tuple[Difference, ...]:
    """Return what differs between who signs and who shall sign."""
    before = {} if old is None else dict(_flat("", msgspec.to_builtins(_by_name(old))))
    after = dict(_flat("", msgspec.to_builtins(_by_name(new))))
    return tuple(_changes("stewards", before, after))


def _by_name(signatories: Signatories) -> dict[str, object]:
    """Stewards by name, so that one who left does not shift all others."""
    return {
        "threshold": signatories.threshold,
        "online_key": signatories.online_key,
        "stewards": {steward.name: steward for steward in signatories.stewards},
        "term_from": {
            steward.name: datetime.fromtimestamp(since_us // 1_000_000, UTC).isoformat()
            for steward in signatories.stewards
            if (since_us := signatories.terms_from_us.get(steward.public_key)) is not None
        },
    }


def _file_differences(name: str, old: bytes | None, new: bytes | None) -> Iterator[Difference]:
    yield from _changes(name, _fields(old), _fields(new))


def _changes(
    name: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Difference]:
    for place in sorted({*before, *after}):
        if before.get(place) != after.get(place):
            yield Difference(
                file=name, place=place, before=before.get(place), after=after.get(place)
            )


def _fields(raw: bytes | None) -> dict[str, str]:
    if raw is None:
        return {}
    try:
        return dict(_flat("", msgspec.json.decode(raw)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A published calculation may be of any form: it is one value.
        return {"": f"{len(raw)} bytes"}


def _flat(place: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{place}.{key}" if place else str(key), inner)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flat(f"{place}[{index}]", inner)
    else:
        yield place, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def as_text(differences: tuple[Difference, ...]) -> str:
    """Return differences as lines for people."""
    lines = []
    for difference in differences:
        for sign, value in (("-", difference.before), ("+", difference.after)):
            if value is not None:
                # As one line whatever is in it: a text cannot pretend to be another change.
                lines.append(f"{sign} {difference.file} {difference.place}: {visible(value)}")
    return "\n".join(lines) + "\n" if lines else "no difference\n"


def visible(text: str, keep: str = "") -> str:
    """Return text in which whatever cannot be printed, but for the characters to keep, is escaped.

    A steward signs what is shown: nothing in a document may move the cursor, hide or turn round
    what stands beside it.
    """
    return "".join(
        character if character.isprintable() or character in keep else ascii(character)[1:-1]
        for character in text
    )
