"""Make the lists of names and places from the providers of the package Faker (MIT).

    python benchmarks/safety/make_word_lists.py [--out DIRECTORY]
    python benchmarks/safety/make_word_lists.py --dictionary FILE

Made with Faker 40.54.0; Faker is needed for this alone. With `--dictionary` the list of common
words instead, from FILE, one of SCOWL's with a word a line: `american-english` of the Debian
package wamerican 2020.12.07.
"""

import argparse
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

LISTS = {
    "given_names": ("person", r"first_name"),
    "family_names": ("person", r"last_name"),
    "places": ("address", r"(?:cities|city_names|villages|states|provinces|regions|towns|districts"
                          r"|cities_with_postcode|departments|counties)$"),
    "countries": ("address", r"countries$"),
    "streets": ("address", r".*(?:street_suffix|street_prefix)"),
}  # fmt: skip
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff' .-]{2,}")


def strings(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        first = value[0] if isinstance(value, tuple | list) else value
        if isinstance(first, str):
            yield first


def words(provider: str, attributes: str) -> Iterator[str]:
    package = importlib.import_module(f"faker.providers.{provider}")
    for module in pkgutil.iter_modules(package.__path__):
        found = importlib.import_module(f"faker.providers.{provider}.{module.name}").Provider
        for name in dir(found):
            values = getattr(found, name)
            if re.match(attributes, name) and isinstance(values, Iterable):
                for word in strings(values):
                    if LATIN.fullmatch(word.strip()):
                        yield word.strip().casefold()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parents[2] / "safety" / "data" / "words"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--dictionary", type=Path)
    arguments = parser.parse_args()
    if arguments.dictionary is not None:
        # What has a capital there is a name, and what has an apostrophe a form of another word.
        known = arguments.dictionary.read_text(encoding="utf-8").split()
        common = sorted({word for word in known if re.fullmatch(r"[a-z]{2,}", word)})
        text = "\n".join((*common, ""))
        (arguments.out / "dictionary.txt").write_text(text, encoding="utf-8")
        return
    for name, (provider, attributes) in LISTS.items():
        lines = sorted(set(words(provider, attributes)))
        text = "\n".join((*lines, ""))
        (arguments.out / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
