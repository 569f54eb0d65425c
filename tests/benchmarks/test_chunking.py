"""That the benchmark of chunking still runs; what it measures is in docs/chunking.md."""

import random
from pydoc_data.topics import topics

import pytest

from benchmarks import chunking


@pytest.fixture(scope="module")
def text() -> chunking.Document:
    whole, planted = chunking.plant(topics["naming"], random.Random(1))
    return chunking.Document("naming", whole, chunking.vocabulary.count(whole), planted)


def test_more_hosts_are_faster(text: chunking.Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "INSTRUCTIONS", {"extract": "Extract all names:"})
    monkeypatch.setattr(chunking, "HOSTS", (1, 4))
    by_hosts = chunking.speed([text])["extract"]
    assert by_hosts[1][0] < 1 < by_hosts[4][0]


def test_an_extraction_by_rule_keeps_every_name(text: chunking.Document) -> None:
    names, pairs = chunking.extraction_kept(text, [(text.text, 10_000)])
    assert (names, pairs) == (1.0, 1.0)
    assert 0 < chunking.summary_kept(text, chunking.CONTEXT_TOKENS) <= 1
