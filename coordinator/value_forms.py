"""Dates, times and amounts in one form, so that two ways of writing one are not two values.

What could be read in two ways (3/4/2024, 1.500) stays as it is written: a needless note tells more
than a conflict that is hidden.
"""

import re
from collections.abc import Sequence
from itertools import combinations

# English and German.
_MONTHS = (
    "jan(?:uary?|uar)?", "feb(?:ruary?|ruar)?", "mar(?:ch)?|mär(?:z)?", "apr(?:il)?",
    "(?-i:May|MAY)|mai", "june?|juni", "july?|juli", "aug(?:ust)?", "sept?(?:ember)?",
    "o[ck]t(?:ober)?", "nov(?:ember)?", "de[cz](?:ember)?",
)  # fmt: skip
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})\b\.?"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th|\.)?"
_YEAR = r"(?P<year>\d{4})(?!\d)"
_DATES = (
    re.compile(r"(?<![\d./-])(?P<year>\d{4})([-/.])(?P<month>\d\d?)\2(?P<day>\d\d?)(?![\d/-])"),
    re.compile(r"(?<![\d./-])(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{4})(?!\d)"),
    # Only a day can be more than twelve.
    re.compile(
        r"(?<![\d./-])(?P<day>1[3-9]|2\d|3[01])([/-])(?P<month>\d\d?)\2(?P<year>\d{4})(?!\d)"
    ),
    re.compile(
        r"(?<![\d./-])(?P<month>\d\d?)([/-])(?P<day>1[3-9]|2\d|3[01])\2(?P<year>\d{4})(?!\d)"
    ),
    re.compile(rf"(?<![\w./-]){_DAY}(?: of)?[ -]{_MONTH}(?:,?[ -]{_YEAR})?", re.IGNORECASE),
    re.compile(rf"\b{_MONTH} {_DAY}(?![\d:])(?:,? {_YEAR})?", re.IGNORECASE),
)
_TIME = re.compile(
    r"(?<![\d:.])(?P<hour>1[0-2]|0?[1-9])(?:[:.](?P<minute>[0-5]\d))? ?(?P<half>[ap])\.?m\b\.?",
    re.IGNORECASE,
)
_SHORT_HOUR = re.compile(r"(?<![\d:.,])(?=\d:[0-5]\d(?![\d:]))")
_THOUSANDS = re.compile(
    r"(?<![\w.,])\d{1,3}(?:(?P<mark>[, '\u2019\u00a0\u202f])\d{3}(?:(?P=mark)\d{3})*)(?![\d])"
)
_NO_CENTS = re.compile(r"(?<![.\d])(\d+)\.00(?![\d.])")
_WHOLE_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_SHORTEST_PART_OF_A_DATE = 4  # A year, or month and day: "03-01".
# Nobody writes one value in so many ways, and every two are compared: a host may send thousands.
_MOST_FORMS = 64

_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_IN_WORDS = re.compile(
    rf"\b(?:(?P<tens>\w+ty)-)?(?P<ones>{'|'.join(_WORDS)})\b(?! (?:hundred|thousand|\w+illion))",
    re.IGNORECASE,
)
_UNITS = {
    "%": ("percent", "per cent", "pct"),
    "$": ("dollars", "dollar", "usd"),
    "€": ("euros", "euro", "eur"),
    "£": ("pounds", "pound", "gbp"),
}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in (unit, *words)}
_UNIT = "|".join(re.escape(word) for word in sorted(_UNIT_OF, key=len, reverse=True))
_AMOUNT = r"(?<![\d.,])\d[\d.,]{0,20}(?<![.,])"
_UNIT_BEFORE = re.compile(
    rf"(?<!\w)(?P<unit>[$€£]|(?:usd|eur|gbp)\b) ?(?P<amount>{_AMOUNT})", re.IGNORECASE
)
_UNIT_BEHIND = re.compile(rf"(?P<amount>{_AMOUNT}) ?(?P<unit>{_UNIT})(?!\w)", re.IGNORECASE)
_VALUE = re.compile(r"\d+(?:[.,:/-]\d+)*")


def plain_values(text: str) -> str:
    """`text` with dates as 2024-03-01 (03-01 without a year), times as 15:00, numbers as 1000."""
    for form in _DATES:
        text = form.sub(_date, text)
    text = _TIME.sub(_time, text)
    text = _SHORT_HOUR.sub("0", text)
    text = _THOUSANDS.sub(lambda found: re.sub(r"\D", "", found.group()), text)
    return _NO_CENTS.sub(r"\1", text)


def agree(one: str, other: str) -> bool:
    """Whether two values are the same, or the one a part of the other's date."""
    short, whole = sorted((one, other), key=len)
    if one == other or len(short) < _SHORTEST_PART_OF_A_DATE:
        return one == other
    is_date = _WHOLE_DATE.fullmatch(whole) is not None
    return is_date and (whole.startswith(f"{short}-") or whole.endswith(f"-{short}"))


def differ(texts: Sequence[str]) -> bool:
    """Whether any two differ in more than how they write numbers, units, dates and times."""
    plain = list(dict.fromkeys(map(_plain_units, texts)))
    if len(plain) > _MOST_FORMS:
        return True
    around = {_VALUE.sub("#", text) for text in plain}
    pairs = combinations(map(_VALUE.findall, plain), 2)
    return len(around) > 1 or any(
        not agree(*values) for pair in pairs for values in zip(*pair, strict=True)
    )


def _plain_units(text: str) -> str:
    text = plain_values(_IN_WORDS.sub(_number, text))
    for form in (_UNIT_BEFORE, _UNIT_BEHIND):
        text = form.sub(lambda found: f"{found['amount']} {_unit(found['unit'])}", text)
    return " ".join(text.casefold().split())


def _unit(word: str) -> str:
    return _UNIT_OF[word.casefold()]


def _number(found: re.Match[str]) -> str:
    tens, ones = (found["tens"] or "").casefold(), _WORDS[found["ones"].casefold()]
    if not tens:
        return str(ones)
    return str(_WORDS[tens] + ones) if tens in _WORDS and 0 < ones < 10 else found.group()


def _date(found: re.Match[str]) -> str:
    day, month, year = int(found["day"]), _month(found["month"]), found["year"]
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return found.group()
    return "-".join(filter(None, (year, f"{month:02}", f"{day:02}")))


def _month(written: str) -> int:
    if written.isdigit():
        return int(written)
    forms = enumerate(_MONTHS, start=1)
    return next((n for n, form in forms if re.fullmatch(form, written, re.IGNORECASE)), 0)


def _time(found: re.Match[str]) -> str:
    hour = int(found["hour"]) % 12 + 12 * (found["half"] in "pP")
    return f"{hour:02}:{found['minute'] or '00'}"
