"""That the requests nobody learns from stay apart from what was written to be learnt from."""

import importlib
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from peerllm.safety.gate_categories import CATEGORIES

SAFETY = Path(__file__).parents[2] / "benchmarks" / "safety"


@pytest.fixture
def judged_rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SAFETY))
    return importlib.import_module("judged_rows")


def words_of(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def test_no_request_that_nobody_learnt_from_is_learnt_from(judged_rows: ModuleType) -> None:
    lines = (SAFETY / "unseen_requests.jsonl").read_text(encoding="utf-8").splitlines()
    unseen = [json.loads(line) for line in lines]
    assert Counter(row["unsafe"] for row in unseen) == {1: 220, 0: 280}
    assert all(set(row["cats"]) <= set(CATEGORIES) for row in unseen)
    assert all(bool(row["cats"]) == bool(row["unsafe"]) for row in unseen)
    learnt = {words_of(row.text) for row in judged_rows.written_rows()}
    assert not learnt & {words_of(row["text"]) for row in unseen}


def test_what_is_written_plainly_is_written_once(judged_rows: ModuleType) -> None:
    plain = [row for row in judged_rows.written_rows() if row.file == "plain"]
    assert max(Counter(words_of(row.text) for row in plain).values()) == 1
    assert all(row.categories <= set(CATEGORIES) for row in plain)
    assert all(bool(row.categories) == row.unsafe for row in plain)
    assert sum(row.unsafe for row in plain) > 2_000 < sum(not row.unsafe for row in plain)
