"""The labelled texts in other languages than English that the language gate is trained on."""

import gettext
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from judged_rows import Row, fold_of

LEARNT = Path(__file__).with_name("written_languages.txt")
# Written by others than those, and learnt from by nobody.
UNSEEN = Path(__file__).with_name("written_languages_unseen.txt")
FILE = "languages"
# Harmless prose of computers: "delete", "password", "user", "must not". Three messages are about as
# long as a window.
MESSAGES = "messages"
_LOCALES = {
    "de": "de", "fr": "fr", "es": "es", "it": "it", "pt": "pt_BR", "nl": "nl", "pl": "pl",
    "tr": "tr", "ru": "ru", "ar": "ar", "zh": "zh_Hans", "ja": "ja", "ko": "ko",
}  # fmt: skip
_FEWEST_WORDS = 6
_TOGETHER = 3
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}")
_HEADING = re.compile(r"\[(harmful|harmless)((?: [a-z_]+)*)\]")


@dataclass(frozen=True)
class LanguageRow:
    """A line, its language, and the number of the meaning it shares with its translations."""

    row: Row = field(repr=False)
    language: str
    meaning: int


def language_rows(path: Path) -> Iterator[LanguageRow]:
    """The lines of a file; those of one meaning are in one fold, in whatever language."""
    meaning, unsafe, categories = 0, False, frozenset[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.fullmatch(line.strip()):
            meaning += 1
            unsafe = heading[1] == "harmful"
            categories = frozenset(heading[2].split())
        elif line.strip() and not line.startswith("#"):
            language, _, text = line.strip().partition(" ")
            row = Row(FILE, text, unsafe, categories, True, fold_of(f"meaning {meaning}"))
            yield LanguageRow(row, language, meaning)


def message_rows(packages: Path) -> Iterator[LanguageRow]:
    """Translated messages of the packages unpacked in a folder, a few together."""
    for language, locale in _LOCALES.items():
        for file in sorted(packages.glob(f"**/locale/{locale}/LC_MESSAGES/django.mo")):
            with file.open("rb") as stored:
                translations = gettext.GNUTranslations(stored)
            # Its only public way asks for one message at a time.
            catalog: dict[object, str] = vars(translations)["_catalog"]
            by_message = {
                message: _PLACEHOLDER.sub("X", text)
                for message, text in catalog.items()
                if isinstance(message, str)
                and len(message.split()) >= _FEWEST_WORDS
                and text
                and "<" not in text
            }
            messages = sorted(by_message)
            for at in range(0, len(messages), _TOGETHER):
                chosen = messages[at : at + _TOGETHER]
                text = " ".join(by_message[message] for message in chosen)
                row = Row(MESSAGES, text, False, frozenset(), True, fold_of(chosen[0]))
                yield LanguageRow(row, language, 0)
