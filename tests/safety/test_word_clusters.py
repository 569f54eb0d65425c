from pathlib import Path

import numpy
import pytest

from peerllm.safety.errors import ModelFileError
from peerllm.safety.word_clusters import WordClusters, word_clusters


def test_words_used_alike_share_a_group() -> None:
    table = word_clusters()
    names = {table.groups(name) for name in ("maria", "anna", "Emma")}
    verbs = {table.groups(verb) for verb in ("walking", "running")}
    assert None not in names | verbs
    assert {group.wide for group in names if group}.isdisjoint(
        group.wide for group in verbs if group
    )
    assert table.groups("MARIA") == table.groups("maria")


@pytest.mark.parametrize("word", ["qzxqv", "", "\ud800", "a" * 10_000])
def test_unknown_words_have_none(word: str) -> None:
    assert word_clusters().groups(word) is None


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "table.npz"
    damaged.write_bytes(b"no table")
    with pytest.raises(ModelFileError, match="install again"):
        WordClusters(damaged)
    numbers = numpy.asarray([1, 2, 3], dtype=numpy.uint32)
    numpy.savez(damaged, differences=numbers, narrow=numbers, wide_of=numbers)
    with pytest.raises(ModelFileError, match="another version"):
        WordClusters(damaged)
