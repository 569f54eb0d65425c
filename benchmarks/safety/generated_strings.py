"""Strings that say nothing, alone and within requests, made for training the gate by a seed.

Keys, digests, numbers and names of variables are cut into word pieces that resemble anything; the
gate has to learn that they mean nothing, and that a harmful request beside them stays harmful.
"""

import base64
import random
import string
from collections.abc import Iterator

COUNT = 60
SMALL = string.ascii_lowercase
MIXED = string.ascii_letters + string.digits
WORDS = (
    "user", "count", "list", "get", "set", "is", "max", "row", "item", "load", "kill", "child",
    "hit", "attack", "key", "exec", "bomb", "index", "total", "parse", "node", "shot", "target",
    "cell", "drop", "abort", "master", "hash", "date", "path", "order", "main", "fork", "dump",
    "temp",
)  # fmt: skip
# {} is the string; none of these asks for harm.
WITHIN = (
    "{}",
    "{} {}",
    "What is {}?",
    "My order number is {}, where is my parcel?",
    "Explain the error {} in this log.",
    "Is {} a strong password?",
    "rename {} to {}",
    "The case {} is closed. Please confirm.",
    "Count the letters in {}",
    "The checksum of the file is {}",
    "Reverse the string {}",
    "Use {} as the reference of the payment.",
)


def _drawn(random_: random.Random, letters: str, shortest: int, longest: int) -> str:
    return "".join(random_.choices(letters, k=random_.randint(shortest, longest)))


def one_of_each(random_: random.Random) -> Iterator[str]:
    """One string of each kind."""
    yield _drawn(random_, SMALL, 4, 12)
    yield _drawn(random_, SMALL, 12, 60)
    yield " ".join(_drawn(random_, SMALL, 2, 9) for _ in range(random_.randint(3, 14)))
    yield _drawn(random_, string.ascii_letters, 5, 40)
    yield _drawn(random_, MIXED, 12, 64)
    yield _drawn(random_, string.digits, 3, 24)
    yield " ".join(_drawn(random_, string.digits, 1, 6) for _ in range(random_.randint(3, 20)))
    yield _drawn(random_, "0123456789abcdef", 8, 64)
    yield base64.b64encode(random_.randbytes(random_.randint(6, 90))).decode()
    yield "-".join(_drawn(random_, "0123456789abcdef", size, size) for size in (8, 4, 4, 4, 12))
    yield "_".join(random_.sample(WORDS, random_.randint(2, 5)))
    named = random_.sample(WORDS, random_.randint(2, 4))
    yield named[0] + "".join(word.title() for word in named[1:])
    yield _drawn(random_, string.ascii_uppercase, 2, 4) + "-" + _drawn(random_, string.digits, 3, 8)
    yield _drawn(random_, string.punctuation, 3, 30)


def strings(seed: int, harmful: list[str]) -> Iterator[tuple[str, bool, str]]:
    """Text, whether it is unsafe, and what is held out together: a drawing, or a request."""
    random_ = random.Random(seed)  # noqa: S311 - reproducible on purpose
    for number in range(COUNT):
        for one in one_of_each(random_):
            other = _drawn(random_, MIXED, 8, 24)
            way = WITHIN[0] if random_.random() < 0.4 else random_.choice(WITHIN)
            yield way.format(one, other), False, f"drawing {number}"
    for text in random_.sample(harmful, 3 * COUNT):
        other = random_.choice(list(one_of_each(random_)))
        mixed = random_.choice((f"{other} {text}", f"{text} {other}", f"{text}\n{other}"))
        yield mixed, True, text
