"""Numbers that identify: cards, bank accounts, social security, phones, passports, birthdays.

A checksum decides where there is one; otherwise the words in front of the number do.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

import phonenumbers

from peerllm.safety.identifier_kinds import Identifier

# How far before a number the words that say what it is may stand.
_CONTEXT_CHARACTERS: Final = 48
# How far behind it: what comes later speaks of the next number.
_CONTEXT_BEHIND: Final = 32

# The line that names the columns of a table; a comma in prose has a space behind it.
_HEADER_CHARACTERS: Final = 200
_BETWEEN_COLUMNS: Final = re.compile(r"[|;\t]|,(?![ \n])")

_SHORTEST_CARD: Final = 12  # Maestro's
_SHORTEST_IBAN: Final = 15  # Norway's

_CARD: Final = re.compile(r"(?<![\w.-])[0-9](?:[ -]?[0-9]){11,18}(?![\w]|-[0-9])")
_CARD_WORDS: Final = re.compile(
    r"\b(?:cards?|visa|mastercard|amex|maestro|cc|credit|debit)\b", re.IGNORECASE
)
_IBAN: Final = re.compile(
    # Possessive: what follows may be taken along and is given back by the check digits.
    r"(?<!\w)[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}+",
    # Else the Turkish i without a dot would be one of the letters.
    re.IGNORECASE | re.ASCII,
)
_SSN: Final = re.compile(r"(?<![\w-])[0-9]{3}([- .]?)[0-9]{2}\1[0-9]{4}(?![\w]|-[0-9])")
_SSN_WORDS: Final = re.compile(
    r"(?<![^\W_])(?:ssn|social(?:[ _]?security(?:[ _]?(?:number|no))?)?|soc\.? sec|tax[ _]?id|itin)"
    r"(?![^\W_])",
    re.IGNORECASE,
)
_CRYPTO: Final = re.compile(
    r"(?<!\w)(?:0x[0-9a-fA-F]{40}|bc1[02-9ac-hj-np-z]{11,71}|[13][1-9A-HJ-NP-Za-km-z]{25,34})(?!\w)"
)
_PASSPORT: Final = re.compile(
    r"(?<![\w-])(?:[A-Z]{1,2}[ -])?(?=[A-Z]{0,8}[0-9])[A-Z0-9]{6,18}(?:-[A-Z0-9]{1,5})?(?![\w-])"
)
_PASSPORT_WORDS: Final = re.compile(
    r"(?<![^\W_])(?:passports?(?:[ _-]?(?:number|no|id))?|travel document|document (?:no|number)"
    r"|driv(?:er|ing)(?:'?s)? licen[cs]e|licen[cs]e (?:no|number)|national id"
    r"|identity card|id card|visa number|resident id|aadhaa?r|personnummer|codice fiscale|curp"
    r"|pesel|national insurance|passeport|reisepass|personalausweis|steuer-?id"
    # In small letters some of these are words: "nie", "pan", "sin".
    r"|(?-i:DNI|NIE|NIF|NINO|SIN|TFN|CPF|CNPJ|INSEE|PAN|BSN|CPR|AHV|HETU|RRN|RUT|TCKN|DL))(?![^\W_])",
    re.IGNORECASE,
)
_ACCOUNT: Final = re.compile(
    r"\b(?:(?:bank |savings |checking |customer )?(?:account|acct|a/c)|routing|sort[ _]?code|bsb"
    r"|customer|member(?:ship)?|policy|patient|employee|medical[ _]?record|mrn|vat|nhs|order)"
    r"\.?(?:[ _-]?(?:number|num|no|id|nr)(?: of [^\n;:!?0-9]{1,48}?(?= is\s)|\b)|\b)\.?"
    # Records and settings have quotes around the key, and its value in a column.
    r"[\"'`*]{0,3}[ \t]{0,24}(?:is\s|[:=#]{1,2}[\"'`*]{0,3}\s?[ \t]{0,24}|[|-] )?#? ?[\"'`]?"
    r"((?=[A-Z-]{0,4}[0-9])[0-9A-Z][0-9A-Z-]{4,24})(?![\w])",
    re.IGNORECASE,
)
_ZIP: Final = re.compile(
    r"\b(?:zip|postal|post) ?codes?\b(?: (?:is|was)|:)? ?((?=[A-Z]{0,3}[0-9])[A-Z0-9]{2,8}"
    r"(?:[ -][0-9][A-Z0-9]{2,3})?)(?!\w)",
    re.IGNORECASE,
)
_MONTH: Final = (
    r"(?:jan|feb|mar|m\u00e4rz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)"
    r"(?:\.|uary?|ruary?|ch|il|[eyi]|ust|tember|ober|ember)?"
)
_DATE: Final = re.compile(
    rf"(?<![\w/.-])(?:[0-9]{{1,4}}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,4}}"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th|\.)?(?: of)?[ -]{_MONTH},?[ -][0-9]{{2,4}}"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{2,4}}|(?:19|20)[0-9]{{6}})"
    # A time may follow, as in records: "1985-04-12T00:00:00Z".
    r"(?:(?![\w/]|[.-][0-9])|(?=T[0-9]{2}:))",
    re.IGNORECASE,
)
_BIRTH_WORDS: Final = re.compile(
    r"(?<![^\W_])(?:born|birth(?:day|date|dates|days)?|d\.?o\.?b|bday|geboren|geb|née?|naissance"
    r"|nacid[oa]|nacimiento|nat[oa]|nascita|(?:date|year)ofbirth|geburts(?:datum|tag))(?![^\W_])",
    re.IGNORECASE,
)
_PHONE: Final = re.compile(
    r"(?<![\w.])(?:\+|\(\+?)?[0-9](?:[ ./()-]{0,3}[0-9]){5,19}(?:\s?(?:x|ext\.?)\s?[0-9]{1,6})?"
    r"(?![\w]|[.:][0-9])",
    re.IGNORECASE,
)
_PHONE_WORDS: Final = re.compile(
    r"\b(?:tele)?(?:phones?|tel|calls?|called|calling|cell|mobile|fax|dial|sms|text(?:s|ed)?"
    r"|whatsapp|ring|rang|num[eé]ro|t[eé]l|telefon(?:nummer)?|(?:handy|ruf)nummer|ruf|m[oó]vil"
    r"|reach(?: (?:me|us|him|her))?|contact|answering|hotline|handy)\b",
    re.IGNORECASE,
)
_PHONE_WORDS_BEHIND: Final = re.compile(
    r"[\s(-]{0,3}(?:office|fax|mobile|cell|home|work|calls|called|keeps|rang|is (?:my|his|her|the)"
    r" (?:phone|number|mobile|cell))\b",
    re.IGNORECASE,
)
# "(32) 484-557" and "28-81-33-70": not valid in the regions tried, but written like nothing else.
_PHONE_SHAPE: Final = re.compile(r"\([0-9]{2,4}\) ?[0-9]{3}-[0-9]{3,4}|[0-9]{2}(?:-[0-9]{2}){3}")
_UNIX_TIME: Final = re.compile(r"1[4-7][0-9]{8}")  # 2014 to 2027
_COUNTING: Final = "01234567890123456789 98765432109876543210"
# More groups than any country writes; a list of small numbers is no phone number.
_MOST_GROUPS: Final = 8
_MOST_NATIONAL_DIGITS: Final = 13
_PHONE_REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "IN")
_DATE_LIKE: Final = re.compile(
    r"(?:[0-9]{1,3}\.[0-9]+|(?:19|20)[0-9]{2}[-/. ][0-9]{1,2}[-/. ][0-9]{1,2}(?:[ -][0-9]{1,2})?"
    r"|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)?[0-9]{2}|(?:1[5-9]|20)[0-9]{2} ?- ?(?:1[5-9]|20)"
    r"[0-9]{2})\Z"
)


def _follows(words: re.Pattern[str], text: str, position: int) -> bool:
    return words.search(text, max(0, position - _CONTEXT_CHARACTERS), position) is not None


def _named(words: re.Pattern[str], text: str, found: re.Match[str]) -> bool:
    """Whether the words stand before the number, or shortly behind it: "... is my passport"."""
    behind = words.search(text, found.end(), found.end() + _CONTEXT_BEHIND)
    return behind is not None or _follows(words, text, found.start())


def _columns(words: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    """Where the rows of tables lie whose header has one of the words: up to the next blank line."""
    columns: list[tuple[int, int]] = []
    for found in words.finditer(text):
        if columns and found.start() < columns[-1][1]:
            continue
        before = text[max(0, found.start() - _HEADER_CHARACTERS) : found.start()]
        behind = text[found.end() : found.end() + _HEADER_CHARACTERS]
        rest, line_break, _ = behind.partition("\n")
        if line_break and _BETWEEN_COLUMNS.search(before.rpartition("\n")[2] + " " + rest):
            start = found.end() + len(rest)
            end = text.find("\n\n", start)
            columns.append((start, len(text) if end < 0 else end))
    return columns


def _lies_in(columns: list[tuple[int, int]], position: int) -> bool:
    index = bisect_right(columns, (position, position)) - 1
    return index >= 0 and position < columns[index][1]


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def luhn_holds(digits: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812-1)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban_holds(iban: str) -> bool:
    """Whether the check digits of an account number are right (ISO 13616, mod 97)."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _lists_numbers(written: str) -> bool:
    """Whether digits stand in twos, as no card has them but at its end."""
    return any(len(group) < 3 for group in re.findall("[0-9]+", written)[:-1])


def detect_cards(text: str) -> Iterator[Identifier]:
    """Payment cards: a right check digit, or 13 digits and more after words that say so."""
    for found in _CARD.finditer(text):
        # Other numbers may stand directly behind: "4111 1111 1111 1111 12/28".
        ends = (found.start() + group.end() for group in re.finditer("[0-9]+", found.group()))
        for end in sorted(ends, reverse=True):
            written = text[found.start() : end]
            digits = _digits(written)
            if len(digits) < _SHORTEST_CARD or len(set(digits)) == 1 or _lists_numbers(written):
                continue
            if luhn_holds(digits):
                yield Identifier(found.start(), end, "CARD", 0.95)
                break
        else:
            if _follows(_CARD_WORDS, text, found.start()):
                yield Identifier(*found.span(), "CARD", 0.6)


def detect_bank_accounts(text: str) -> Iterator[Identifier]:
    """IBANs with right check digits, and numbers introduced as an account or a customer's."""
    for found in _IBAN.finditer(text):
        compact = re.sub(r"[ -]", "", found.group())
        ends = [found.start() + at + 1 for at, mark in enumerate(found.group()) if mark.isalnum()]
        for length in range(len(compact), _SHORTEST_IBAN - 1, -1):
            end = ends[length - 1]
            if not text[end : end + 1].isalnum() and iban_holds(compact[:length]):
                yield Identifier(found.start(), end, "IBAN", 1.0)
                break
    for found in _ACCOUNT.finditer(text):
        yield Identifier(*found.span(1), "ACCOUNT", 0.83)
    for found in _CRYPTO.finditer(text):
        if len(set(found.group())) > 8:
            yield Identifier(*found.span(), "CRYPTO", 0.9)


def detect_official_numbers(text: str) -> Iterator[Identifier]:
    """US social security numbers, passports and licences, postal codes introduced as such."""
    for found in _SSN.finditer(text):
        digits = _digits(found.group())
        possible = digits[:3] not in {"000", "666"} and digits[3:5] != "00" and digits[5:] != "0000"
        if _named(_SSN_WORDS, text, found):
            yield Identifier(*found.span(), "SSN", 0.95)
        elif found.group(1) in {"-", " "} and possible and digits[0] != "9":
            yield Identifier(*found.span(), "SSN", 0.75)
    passports = _columns(_PASSPORT_WORDS, text)
    for found in _PASSPORT.finditer(text):
        if _lies_in(passports, found.start()) or _named(_PASSPORT_WORDS, text, found):
            yield Identifier(*found.span(), "PASSPORT", 0.8)
    for found in _ZIP.finditer(text):
        yield Identifier(*found.span(1), "ADDRESS", 0.8)


def detect_birthdays(text: str) -> Iterator[Identifier]:
    """Dates that words beside them call somebody's birthday."""
    birthdays = _columns(_BIRTH_WORDS, text)
    for found in _DATE.finditer(text):
        if _lies_in(birthdays, found.start()) or _named(_BIRTH_WORDS, text, found):
            yield Identifier(*found.span(), "BIRTHDATE", 0.85)


def _is_valid_number(number: str) -> bool:
    regions = (None,) if number.startswith("+") else _PHONE_REGIONS
    for region in regions:
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(parsed):
            return True
    return False


def _phone_score(text: str, start: int, end: int) -> float:
    written = text[start:end]
    number = re.split(r"x|ext", written, maxsplit=1, flags=re.IGNORECASE)[0]
    digits = _digits(number)
    groups = len(re.findall(r"[0-9]+", number))
    if not 6 <= len(digits) <= 16 or groups > _MOST_GROUPS or _DATE_LIKE.match(written):
        return 0.0
    if set(digits) <= {"0", "1"}:
        return 0.0
    if _follows(_PHONE_WORDS, text, start):
        return 0.85
    if number.lstrip("(").startswith(("+", "00")) and len(digits) >= 8:
        return 0.8
    if _PHONE_WORDS_BEHIND.match(text, end):
        return 0.7
    return _unannounced_phone_score(written, number, digits, grouped=groups > 1)


def _lists_quantities(number: str) -> bool:
    """Whether it is a list: numbers of two digits between spaces, or round ones."""
    groups = re.findall("[0-9]+", number)
    small = " " in number and max(map(len, groups)) <= 2 and not number.startswith(("0", "(0"))
    return small or (len(groups) > 2 and all(group.endswith("0") for group in groups))


def _unannounced_phone_score(written: str, number: str, digits: str, *, grouped: bool) -> float:
    """The score of a number that no word around it calls a phone number."""
    lone_digits = len(re.findall(r"(?<![0-9])[0-9](?![0-9])", number))
    if len(digits) < 7 or lone_digits > 1 or _lists_quantities(number):
        return 0.0
    if grouped and number != written and len(digits) >= 10:
        return 0.7
    national = len(digits) <= _MOST_NATIONAL_DIGITS and (
        grouped or (digits.startswith("0") and 9 <= len(digits) <= 12)
    )
    if _PHONE_SHAPE.fullmatch(number) or (national and _is_valid_number(number)):
        return 0.6
    # Nothing but a bare long number: more often somebody's than a quantity, unless it is round.
    bare = not grouped and 9 <= len(digits) <= 12 and not digits.endswith("000")
    bare = bare and digits not in _COUNTING
    return 0.5 if bare and not _UNIX_TIME.fullmatch(digits) else 0.0


def detect_phones(text: str) -> Iterator[Identifier]:
    """Phone numbers: introduced as such, in international form, or valid in a large region."""
    for found in _PHONE.finditer(text):
        start, end = found.span()
        # A number of something else may stand directly in front: "room 5 555-123-4567".
        for group in re.finditer(r"[+(]*[0-9]+", found.group()):
            if found.group()[: group.start()].endswith("-"):
                continue
            score = _phone_score(text, start + group.start(), end)
            if score > 0:
                yield Identifier(start + group.start(), end, "PHONE", score)
                break
