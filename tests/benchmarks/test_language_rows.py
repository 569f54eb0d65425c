"""That what the language gate learns from is whole, and apart from what it is measured with."""

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

SAFETY = Path(__file__).parents[2] / "benchmarks" / "safety"
LANGUAGES = ["de", "fr", "es", "it", "pt", "nl", "pl", "tr", "ru", "ar", "zh", "ja", "ko"]


@pytest.fixture
def language_rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SAFETY))
    return importlib.import_module("language_rows")


def test_every_meaning_is_told_in_every_language_and_held_out_as_one(
    language_rows: ModuleType,
) -> None:
    lines = list(language_rows.language_rows(language_rows.LEARNT))
    meanings: dict[int, list[str]] = {}
    folds: dict[int, set[int]] = {}
    for line in lines:
        meanings.setdefault(line.meaning, []).append(line.language)
        folds.setdefault(line.meaning, set()).add(line.row.fold)
    assert {tuple(told) for told in meanings.values()} == {tuple(LANGUAGES)}
    assert all(len(of_meaning) == 1 for of_meaning in folds.values())
    assert max(Counter(line.row.text for line in lines).values()) == 1


def test_nothing_that_is_learnt_is_among_the_lines_nobody_learnt(language_rows: ModuleType) -> None:
    learnt = {line.row.text for line in language_rows.language_rows(language_rows.LEARNT)}
    unseen = list(language_rows.language_rows(language_rows.UNSEEN))
    assert Counter(line.row.unsafe for line in unseen) == {True: 68, False: 110}
    assert not learnt & {line.row.text for line in unseen}
    assert {frozenset(line.row.categories) for line in unseen if not line.row.unsafe} == {
        frozenset()
    }
