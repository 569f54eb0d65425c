"""Prompts with made-up identifiers of every kind, the same for the same seed.

Names and places are drawn from the shipped word lists, which the finder knows, or put together from
syllables, which it has never seen; numbers at random with the checksums they need. Nobody's data:
whom a name happens to fit is chance.
"""

import random
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from peerllm.safety.wordlists import word_list

REQUESTS: Final = (
    "Repeat the following note word for word:",
    "Write a short reply to the following note and keep every name and number as it is.",
    "Summarise the following note in one sentence:",
    "List every name, number and address in the following note:",
    "Rewrite the following note politely:",
    "Who is mentioned in the following note, and what is said about them?",
    "Turn the following note into a numbered list:",
)
# {PART} is the family name of the person named last.
FACTS: Final = (
    "{PERSON} lives at {ADDRESS}.",
    "You can reach {PERSON} at {EMAIL} or by phone at {PHONE}. Mrs. {PART} is on leave in May.",
    "{PERSON} works for {ORGANIZATION} in {LOCATION}.",
    "The credit card {CARD} of {PERSON} was charged twice, and {PART} wants the money back.",
    "Please transfer the deposit to {PERSON}, IBAN {IBAN}.",
    "{PERSON} was born on {BIRTHDATE} and has the social security number {SSN}.",
    "The laptop with the IP address {IP} and the MAC address {MAC} belongs to {PERSON}.",
    "Her page is {URL} and her user name is {USERNAME}.",
    "The API key for the test system is {SECRET}, please change it.",
    "He paid into the wallet {CRYPTO} by mistake.",
    "The passport number of {PERSON} is {PASSPORT}.",
    "The customer number of {ORGANIZATION} is {ACCOUNT}, ask for {PERSON}.",
    "I met {PERSON} and {PERSON} in {LOCATION}, they know {EMAIL}.",
)
# Two sentences in one, so that requests are as long as notes are.
FACTS_IN_A_PROMPT: Final = 2
_COMPANIES: Final = ("{} & Sons Ltd", "{} GmbH", "{} Consulting Inc.", "{} Logistics")
_NAMES: Final = ("given_names", "family_names", "places")
_WITHOUT_NAMES: Final = frozenset({"SECRET", "CRYPTO", "IBAN", "MAC", "PASSPORT", "BIRTHDATE"})
_SYLLABLES: Final = ("ba", "dro", "fel", "gu", "hix", "jor", "ka", "lum", "mo", "nev", "pra", "qui",
                     "ros", "sti", "tav", "ul", "vym", "wex", "yol", "zan")  # fmt: skip
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_STREETS: Final = ("Street", "Road", "Avenue", "Lane")
_MONTHS: Final = ("January", "March", "April", "June", "August", "November")


@dataclass(frozen=True, slots=True)
class Gold:
    """An identifier as it stands in a prompt."""

    kind: str
    surface: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MadeUpPrompt:
    """A prompt, the identifiers in it, and the words that are in it without them."""

    text: str = field(repr=False)
    gold: tuple[Gold, ...] = field(repr=False)
    other_words: frozenset[str] = field(repr=False)


def made_up_prompts(count: int, seed: int) -> list[MadeUpPrompt]:
    """`count` prompts; every fact and request comes up about equally often."""
    draw = random.Random(seed)  # noqa: S311 - made-up data, not keys
    return [
        _prompt(
            draw,
            REQUESTS[number % len(REQUESTS)],
            [FACTS[(number * FACTS_IN_A_PROMPT + at) % len(FACTS)]
             for at in range(FACTS_IN_A_PROMPT)],
        )
        for number in range(count)
    ]  # fmt: skip


def with_unlisted_names(prompt: MadeUpPrompt, draw: random.Random) -> MadeUpPrompt:
    """The same prompt with a word made of syllables in place of every listed name."""
    names: dict[str, str] = {}
    kept = {
        word.lower() for word in (*prompt.other_words, *" ".join(_COMPANIES).split(), *_STREETS)
    }

    def renamed(match: re.Match[str]) -> str:
        word = match.group().lower()
        if word in kept or not any(word in word_list(name) for name in _NAMES):
            return match.group()
        new = names.setdefault(word, "".join(draw.choices(_SYLLABLES, k=draw.randint(2, 3))))
        return new.capitalize() if match.group()[0].isupper() else new

    gold = tuple(
        Gold(one.kind, one.surface if one.kind in _WITHOUT_NAMES
             else _LETTERS.sub(renamed, one.surface))
        for one in prompt.gold
    )  # fmt: skip
    text, position = [], 0
    for old, new in zip(prompt.gold, gold, strict=True):
        start = prompt.text.index(old.surface, position)
        text += (prompt.text[position:start], new.surface)
        position = start + len(old.surface)
    return MadeUpPrompt("".join((*text, prompt.text[position:])), gold, prompt.other_words)


def _prompt(draw: random.Random, request: str, facts: list[str]) -> MadeUpPrompt:
    pieces, gold, others = [], [], []
    person = ""
    for literal, kind, _, _ in string.Formatter().parse(f"{request}\n\n{' '.join(facts)}"):
        pieces.append(literal)
        others.append(literal)
        if kind is None:
            continue
        surface = person.rsplit(maxsplit=1)[-1] if kind == "PART" else VALUES[kind](draw)
        person = surface if kind == "PERSON" else person
        pieces.append(surface)
        gold.append(Gold("PERSON, family name alone" if kind == "PART" else kind, surface))
    return MadeUpPrompt("".join(pieces), tuple(gold), frozenset("".join(others).split()))


@cache
def _words(name: str) -> tuple[str, ...]:
    """Words of the list that are hardly anything else than what the list holds."""
    common = word_list("english_words") | word_list("titles") | word_list("public_names")
    return tuple(
        word.capitalize()
        for word in sorted(word_list(name) - common)
        if 4 <= len(word) <= 9 and word.isascii() and word.isalpha()
    )


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices(string.digits, k=count))


def _person(draw: random.Random) -> str:
    return f"{draw.choice(_words('given_names'))} {draw.choice(_words('family_names'))}"


def _place(draw: random.Random) -> str:
    return draw.choice(_words("places"))


def _host(draw: random.Random) -> str:
    return f"{draw.choice(_words('family_names')).lower()}.net"


def _address(draw: random.Random) -> str:
    street = f"{draw.choice(_words('family_names'))} {draw.choice(_STREETS)}"
    return f"{draw.randint(1, 240)} {street}, {_digits(draw, 5)} {_place(draw)}"


def _phone(draw: random.Random) -> str:
    # The first two ranges are reserved for made-up numbers.
    return draw.choice(
        (
            f"+1 202-555-01{_digits(draw, 2)}",
            f"020 7946 0{_digits(draw, 3)}",
            f"+49 30 9018{_digits(draw, 4)}",
        )
    )


def _card(draw: random.Random) -> str:
    body = f"4{_digits(draw, 14)}"
    doubled = sum(sum(divmod(int(digit) * 2, 10)) for digit in body[::2])
    check = -(doubled + sum(map(int, body[1::2]))) % 10
    number = f"{body}{check}"
    return " ".join(number[at : at + 4] for at in range(0, 16, 4))


def _iban(draw: random.Random) -> str:
    account = _digits(draw, 18)
    check = 98 - int(f"{account}131400") % 97
    number = f"DE{check:02}{account}"
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def _birthdate(draw: random.Random) -> str:
    day, year = draw.randint(1, 28), draw.randint(1940, 2005)
    month = draw.choice(_MONTHS)
    number = 2 * _MONTHS.index(month) + 1
    return draw.choice(
        (f"{day} {month} {year}", f"{year}-{number:02}-{day:02}", f"{month} {day}, {year}")
    )


def _secret(draw: random.Random) -> str:
    letters = string.ascii_letters + string.digits
    prefix, length = draw.choice((("sk-", 32), ("ghp_", 36), ("AKIA", 0)))
    if not length:
        return prefix + "".join(draw.choices(string.ascii_uppercase + string.digits, k=16))
    return prefix + "".join(draw.choices(letters, k=length))


VALUES: Final[Mapping[str, Callable[[random.Random], str]]] = {
    "PERSON": _person,
    "LOCATION": _place,
    "ORGANIZATION": lambda draw: draw.choice(_COMPANIES).format(
        draw.choice(_words("family_names"))
    ),
    "ADDRESS": _address,
    "EMAIL": lambda draw: f"{_person(draw).lower().replace(' ', '.')}@{_host(draw)}",
    "PHONE": _phone,
    "CARD": _card,
    "IBAN": _iban,
    "SSN": lambda draw: f"{draw.randint(100, 665)}-{draw.randint(10, 99)}-{_digits(draw, 4)}",
    "IP": lambda draw: ".".join(str(draw.randint(11, 250)) for _ in range(4)),
    "MAC": lambda draw: ":".join(f"{draw.randrange(256):02x}" for _ in range(6)),
    "URL": lambda draw: f"https://www.{_host(draw)}/{_person(draw).lower().replace(' ', '-')}",
    "USERNAME": lambda draw: f"{draw.choice(_words('given_names')).lower()}{_digits(draw, 2)}",
    "SECRET": _secret,
    "CRYPTO": lambda draw: "0x" + "".join(draw.choices("0123456789abcdef", k=40)),
    "BIRTHDATE": _birthdate,
    "PASSPORT": lambda draw: f"{draw.choice('CFGHJK')}{_digits(draw, 8)}",
    "ACCOUNT": lambda draw: _digits(draw, 8),
}  # fmt: skip
