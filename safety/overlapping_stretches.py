"""Equal stretches of a sequence that overlap, so that what one cuts is whole in the next."""

from collections.abc import Iterator


def stretches_of(whole: int, longest: int, shared: int) -> Iterator[tuple[int, int]]:
    """Where equal stretches begin and end that overlap by `shared` and cover `whole` places."""
    length = whole - shared
    count = max(1, -(-length // (longest - shared)))
    for number in range(count):
        yield number * length // count, (number + 1) * length // count + shared
