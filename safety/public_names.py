"""Names that say nothing about whoever writes them: countries, great cities, the long dead."""

import re
from typing import Final

from peerllm.safety.wordlists import word_list

_KINDS: Final = frozenset({"PERSON", "LOCATION", "ORGANIZATION"})
_BETWEEN_NAMES: Final = re.compile(r"\s*(?:[,/&]|\band\b|\bor\b)\s*")
_GENITIVE: Final = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}]s\\Z")
# Given names that make everybody think of one bearer; of others that are on the list, such as
# Florence and Sydney, many bearers are alive.
_ONE_BEARER: Final = frozenset(
    {"caesar", "cicero", "cleopatra", "hannibal", "michelangelo", "napoleon", "ovid", "rembrandt"}
)


def is_public_name(surface: str, kind: str) -> bool:
    """Whether what was found as `kind` is only one or several names of the list of public names.

    A single word found as a person is not when it is a given name: that is somebody called Paris.
    """
    if kind not in _KINDS:
        return False
    name = " ".join(surface.casefold().split())
    return _is_listed(name, kind) or all(
        _is_listed(part, kind) for part in _BETWEEN_NAMES.split(name)
    )


def _is_listed(name: str, kind: str) -> bool:
    forms = {form.removeprefix("the ") for form in (name, _GENITIVE.sub("", name))}
    listed = forms & word_list("public_names")
    return bool(listed) and not (
        kind == "PERSON" and (listed - _ONE_BEARER) & word_list("given_names")
    )
