"""National identity numbers that their own check digits tell, without a word beside them.

They stand beside the detectors whose finds the tagger was trained on, and are none of its features.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.number_detectors import luhn_holds

# Above what the tagger is sure of: it takes some of them for phone numbers.
_SCORE: Final = 0.9
_DAY_OF_MONTH: Final = r"(?:0[1-9]|[12][0-9]|3[01])"
_MONTH: Final = r"(?:0[1-9]|1[0-2])"
_CHINESE: Final = re.compile(
    rf"(?<!\w)[1-9][0-9]{{5}}(?:19|20)[0-9]{{2}}{_MONTH}{_DAY_OF_MONTH}[0-9]{{3}}[0-9Xx](?!\w)"
)
_SPANISH: Final = re.compile(r"(?<![\w.-])(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-Z](?![\w-])")
_SPANISH_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
# Months from 20 on stand for births whose month was not known; 2A and 2B are Corsica.
_FRENCH: Final = re.compile(
    r"(?<![\w.-])[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}|2[AB])"
    r" ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}(?![\w-])"
)
_SWEDISH: Final = re.compile(
    # Sixty is added to the day of people without a permanent residence.
    rf"(?<![\w.-])(?:19|20)?[0-9]{{2}}{_MONTH}(?:{_DAY_OF_MONTH}|[6-9][0-9])[-+][0-9]{{4}}(?![\w-])"
)
_FINNISH: Final = re.compile(
    rf"(?<![\w.-]){_DAY_OF_MONTH}{_MONTH}[0-9]{{2}}[-+A-FU-Y][0-9]{{3}}[0-9A-Y](?![\w-])"
)
_FINNISH_MARKS: Final = "0123456789ABCDEFHJKLMNPRSTUVWXY"


def _chinese_holds(written: str) -> bool:
    """ISO 7064 MOD 11-2, as GB 11643 has it."""
    rest = 0
    for digit in written[:17]:
        rest = (rest + int(digit)) * 2 % 11
    return "0123456789X"[(12 - rest) % 11] == written[17].upper()


def _spanish_holds(written: str) -> bool:
    compact = written.replace("-", "")
    number = compact[:-1].translate(str.maketrans("XYZ", "012"))
    return _SPANISH_LETTERS[int(number) % 23] == compact[-1]


def _french_holds(written: str) -> bool:
    compact = written.replace(" ", "").replace("2A", "19").replace("2B", "18")
    return 97 - int(compact[:13]) % 97 == int(compact[13:])


def _swedish_holds(written: str) -> bool:
    return luhn_holds(re.sub("[^0-9]", "", written)[-10:])


def _finnish_holds(written: str) -> bool:
    return _FINNISH_MARKS[int(written[:6] + written[7:10]) % 31] == written[10]


_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...]] = (
    (_CHINESE, _chinese_holds),
    (_SPANISH, _spanish_holds),
    (_FRENCH, _french_holds),
    (_SWEDISH, _swedish_holds),
    (_FINNISH, _finnish_holds),
)


def detect_checked_numbers(text: str) -> Iterator[Identifier]:
    """Chinese, Spanish, French, Swedish and Finnish identity numbers whose check digits are right.

    Of numbers of the same form that are something else one in 11 to 97 has the right ones.
    """
    for form, holds in _FORMS:
        for found in form.finditer(text):
            if holds(found.group()):
                yield Identifier(*found.span(), "PASSPORT", _SCORE)
