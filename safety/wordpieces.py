"""Cutting a text into the word pieces an uncased BERT model was trained on (Devlin et al. 2018)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from peerllm.safety.errors import ModelFileError

VOCABULARY_PATH: Final = Path(__file__).parent / "data" / "wordpieces.txt"

# A run of letters and digits, or one sign; ideographs stand alone, as the model was trained.
_WORD: Final = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]"
    r"|[^\W_\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+|[^\w\s]|_"
)
# No English word is longer; what is, is noise, and looking for its pieces costs its square.
_LONGEST_WORD: Final = 40


class WordPieces:
    """The vocabulary. Raises `ModelFileError` when the file is missing or damaged."""

    def __init__(self, path: Path = VOCABULARY_PATH) -> None:
        try:
            pieces = path.read_text(encoding="utf-8").splitlines()
            self._numbers = {piece: number for number, piece in enumerate(pieces)}
            self.first, self.last, self._unknown = (
                self._numbers[mark] for mark in ("[CLS]", "[SEP]", "[UNK]")
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelFileError(f"the vocabulary {path} cannot be read; install again") from error

    def numbers(self, text: str) -> list[int]:
        """The pieces of a normalised text, without the marks of its beginning and end."""
        found: list[int] = []
        for word in _WORD.findall(text):
            number = self._numbers.get(word)
            if number is not None:
                found.append(number)
            elif len(word) > _LONGEST_WORD:
                found.append(self._unknown)
            else:
                found.extend(self._pieces(word))
        return found

    def _pieces(self, word: str) -> list[int]:
        pieces, start = [], 0
        while start < len(word):
            for number, end in self._candidates(word, start):
                pieces.append(number)
                start = end
                break
            else:
                return [self._unknown]
        return pieces

    def _candidates(self, word: str, start: int) -> Iterator[tuple[int, int]]:
        before = "##" if start else ""
        for end in range(len(word), start, -1):
            number = self._numbers.get(before + word[start:end])
            if number is not None:
                yield number, end
