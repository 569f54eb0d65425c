"""The word lists shipped with this room: one word or phrase a line, in lower case."""

from functools import cache
from pathlib import Path

from peerllm.safety.errors import ModelFileError

_WORDS = Path(__file__).parent / "data" / "words"


@cache
def word_list(name: str) -> frozenset[str]:
    """The lines of `data/words/<name>.txt`. Raises `ModelFileError` when it is missing."""
    path = _WORDS / f"{name}.txt"
    try:
        return frozenset(path.read_text(encoding="utf-8").split("\n")) - {""}
    except OSError as error:
        raise ModelFileError(f"the word list {path} cannot be read; install again") from error
