"""How a placeholder is written, and how it is recognised again in what a model wrote.

The form is bare, `PERSON_1`: of the styles tried, models copy it most faithfully. A second way the
same person is written in the request gets a letter, `PERSON_1B`; a model that drops the letter
still names the right person.
"""

import re
from collections.abc import Iterable
from typing import Final

# A longer number is no placeholder: no request holds a million identifiers.
_DIGITS: Final = 6
_SEPARATOR: Final = r"(?:\\?_|[ -])?"
_OPENING: Final = r"[\[{<]{0,2}"
_CLOSING: Final = r"[\]}>]{0,2}"
# What a model writes with a number behind in programs ("person1", "card-1") is no placeholder:
# without a bracket, small letters take an underscore or a space.
_MEANT: Final = r"(?:(?<=[\[{<])|(?=(?-i:[A-Z]+)(?:\\?_|[ -])?[0-9])|(?=[A-Z]+(?:\\?_| )[0-9]))"
# ASCII letters and digits bound a placeholder; scripts written without spaces may touch it.
_NOT_AFTER: Final = r"(?<![A-Za-z0-9])"
_NOT_BEFORE: Final = r"(?![A-Za-z0-9])"
_FLAGS: Final = re.IGNORECASE | re.ASCII

PAIRS: Final = {"[": "]", "{": "}", "<": ">"}
# Behind these an opening bracket belongs to a command, a value or a program: "\textbf{PERSON_1}".
# Not behind letters of scripts without spaces, where a model's bracket touches the word before.
_OPENS_SYNTAX: Final = re.compile(r"(?:[A-Za-z0-9\]})$!]|= ?)\Z")
OPENS_SYNTAX_CHARACTERS: Final = 2
# In mail headers and in Markdown these stand in "<>".
_IN_ANGLES: Final = frozenset({"EMAIL", "URL"})

_NUMBERED_WORD: Final = re.compile(rf"(?<![A-Za-z])([A-Za-z]+){_SEPARATOR}[0-9]", _FLAGS)


def numbered_words(text: str) -> set[str]:
    """Every word of `text`, in capitals, that is followed by a number as a placeholder would be."""
    return {found.group(1).upper() for found in _NUMBERED_WORD.finditer(text)}


def written(prefix: str, number: int, form: int) -> str:
    """The placeholder for one surface form (0 is the first) of one identifier."""
    return f"{prefix}_{number}" if form == 0 else f"{prefix}_{number}{chr(ord('A') + form)}"


def recognised(match: re.Match[str]) -> str:
    """The placeholder, as `written`, that a match of `placeholder_pattern` stands for."""
    return f"{match['prefix'].upper()}_{int(match['number'])}{match['form'].upper()}"


def has_own_brackets(match: re.Match[str], kind: str) -> bool:
    """Whether what a match stands for, of this kind, needs the brackets that are around it."""
    text, start, end = match.string, match.start(), match.end()
    return (
        _OPENS_SYNTAX.search(text, max(0, start - OPENS_SYNTAX_CHARACTERS), start) is not None
        # A link in Markdown; else its text and its address would run together.
        or (match["closing"].endswith("]") and text.startswith("(", end))
        or (kind in _IN_ANGLES and match["opening"].endswith("<"))
    )


def _any_of(prefixes: Iterable[str]) -> str:
    # The longest first, else NAME would hide a longer prefix that begins with it.
    return "|".join(sorted((re.escape(prefix) for prefix in prefixes), key=len, reverse=True))


def placeholder_pattern(prefixes: Iterable[str]) -> re.Pattern[str]:
    """Placeholders with these prefixes, whatever their case, separator and brackets.

    In small letters only with an underscore, a space or brackets.
    """
    return re.compile(
        rf"(?P<opening>{_OPENING}){_NOT_AFTER}{_MEANT}(?P<prefix>{_any_of(prefixes)}){_SEPARATOR}"
        rf"(?P<number>[0-9]{{1,{_DIGITS}}})(?P<form>[A-Z]?){_NOT_BEFORE}(?P<closing>{_CLOSING})",
        _FLAGS,
    )


def unfinished_pattern(prefixes: Iterable[str]) -> re.Pattern[str]:
    """The end of a text that more text could still make, or change, a placeholder of."""
    beginnings = {prefix[:end] for prefix in prefixes for end in range(1, len(prefix) + 1)}
    complete = (
        rf"(?:{_any_of(prefixes)})(?:\\|{_SEPARATOR}(?:[0-9]{{1,{_DIGITS}}}[A-Z]?{_CLOSING})?)"
    )
    return re.compile(
        rf"(?:{_OPENING}{_NOT_AFTER}(?:{complete}|{_any_of(beginnings)})|[\[{{<]{{1,2}})\Z",
        _FLAGS,
    )
