"""That the texts nobody has learnt from stay apart from what is learnt from."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from peerllm.safety.gate_categories import CATEGORIES

SAFETY = Path(__file__).parents[2] / "benchmarks" / "safety"
FILES = {
    "unseen_requests": (220, 280),
    "unseen_requests_second": (240, 300),
    "unseen_prose": (0, 240),
}


@pytest.fixture
def judged_rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SAFETY))
    return importlib.import_module("judged_rows")


def words_of(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def test_no_text_that_nobody_learnt_from_is_learnt_from(judged_rows: ModuleType) -> None:
    learnt = {words_of(row.text) for row in judged_rows.written_rows()}
    assert len(learnt) > 10_000
    seen: set[str] = set()
    for name, (harmful, harmless) in FILES.items():
        lines = (SAFETY / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert sum(row["unsafe"] for row in rows) == harmful
        assert sum(not row["unsafe"] for row in rows) == harmless
        assert all(set(row["cats"]) <= set(CATEGORIES) for row in rows)
        assert all(bool(row["cats"]) == bool(row["unsafe"]) for row in rows)
        texts = {words_of(row["text"]) for row in rows}
        assert len(texts) == len(rows)
        assert not texts & learnt
        assert not texts & seen
        seen |= texts
