from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.errors import ModelFileError
from peerllm.safety.wordpieces import VOCABULARY_PATH, WordPieces

PIECES = WordPieces()
NAMES = VOCABULARY_PATH.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("how do i bend a spoon?", ["how", "do", "i", "bend", "a", "spoon", "?"]),
        ("unaffable", ["una", "##ffa", "##ble"]),
        ("snake_case", ["snake", "_", "case"]),
        ("\u5929\u6c14", ["\u5929", "[UNK]"]),
        ("a" * 1_000, ["[UNK]"]),
        ("", []),
    ],
)
def test_words_are_cut_as_the_model_was_trained(text: str, pieces: list[str]) -> None:
    assert [NAMES[number] for number in PIECES.numbers(text)] == pieces


@given(st.text())
def test_every_number_is_one_of_the_vocabulary(text: str) -> None:
    assert all(0 <= number < len(NAMES) for number in PIECES.numbers(text))


def test_a_damaged_vocabulary_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "wordpieces.txt"
    with pytest.raises(ModelFileError):
        WordPieces(broken)
    broken.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(ModelFileError):
        WordPieces(broken)
