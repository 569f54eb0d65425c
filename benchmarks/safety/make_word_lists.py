"""Make the lists of names and places from the providers of the package Faker (MIT).

    python benchmarks/safety/make_word_lists.py [--out DIRECTORY]

Made with Faker 40.54.0; Faker is needed for this alone.
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
    arguments = parser.parse_args()
    for name, (provider, attributes) in LISTS.items():
        lines = sorted(set(words(provider, attributes)))
        text = "\n".join((*lines, ""))
        (arguments.out / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
