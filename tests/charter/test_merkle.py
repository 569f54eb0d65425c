from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.merkle import (
    EMPTY_ROOT,
    consistency_path,
    full_subtrees,
    inclusion_path,
    joined,
    leaf_hash,
    merkle_root,
    root_of_hashes,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and the roots of their first n, as the implementations of RFC 6962 publish them.
LEAVES = tuple(
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

leaf_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word by word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 9162, section 2.1.3.1, word by word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(old: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """RFC 9162, section 2.1.4.1, word by word."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_consistency(old, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_consistency(old - k, leaves[k:], False), naive_root(leaves[:k])]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert merkle_root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree_has_the_published_root() -> None:
    assert merkle_root([]) == EMPTY_ROOT == root_of_hashes([]) == joined([])
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_published_proofs() -> None:
    # Of the tree of eight: the path of leaf 0, and how the tree of six grew into it.
    assert [step.hex() for step in inclusion_path(LEAVES, 0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [step.hex() for step in consistency_path(LEAVES, 6)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(leaf_lists, st.data())
def test_inclusion_is_the_rfcs(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle_root(leaves), inclusion_path(leaves, index)
    assert root == naive_root(leaves)
    assert list(path) == naive_path(index, leaves)
    assert verify_inclusion(root, len(leaves), index, leaves[index], path)
    assert not verify_inclusion(root, len(leaves), index, leaves[index] + b"!", path)
    assert not verify_inclusion(merkle_root([*leaves, b""]), len(leaves), index, b"", path)
    other = data.draw(st.integers(-2, len(leaves) + 2).filter(lambda n: n != index))
    if not 0 <= other < len(leaves) or leaves[other] != leaves[index]:
        assert not verify_inclusion(root, len(leaves), other, leaves[index], path)


@given(leaf_lists, st.data())
def test_an_altered_path_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, path = merkle_root(leaves), inclusion_path(leaves, index)
    longer = (*path, bytes(32))
    assert not verify_inclusion(root, len(leaves), index, leaves[index], longer)
    for step in range(len(path)):
        shorter = path[:step] + path[step + 1 :]
        assert not verify_inclusion(root, len(leaves), index, leaves[index], shorter)
        flipped = bytes([path[step][0] ^ 1]) + path[step][1:]
        altered = (*path[:step], flipped, *path[step + 1 :])
        assert not verify_inclusion(root, len(leaves), index, leaves[index], altered)


@given(leaf_lists, st.data())
def test_consistency_is_the_rfcs(leaves: list[bytes], data: st.DataObject) -> None:
    old, size = data.draw(st.integers(1, len(leaves))), len(leaves)
    root, old_root, path = (
        merkle_root(leaves),
        merkle_root(leaves[:old]),
        consistency_path(leaves, old),
    )
    assert list(path) == naive_consistency(old, leaves)
    assert verify_consistency(old, old_root, size, root, path)
    rewritten = merkle_root([leaves[0] + b"!", *leaves[1:old]])
    assert not verify_consistency(old, rewritten, size, root, path)
    assert not verify_consistency(old, old_root, size, rewritten, path)
    assert not verify_consistency(old, old_root, size, root, (*path, bytes(32)))
    assert not verify_consistency(size + 1, old_root, size, root, path)
    for step in range(len(path)):
        shorter = path[:step] + path[step + 1 :]
        assert not verify_consistency(old, old_root, size, root, shorter)
        flipped = bytes([path[step][0] ^ 1]) + path[step][1:]
        altered = (*path[:step], flipped, *path[step + 1 :])
        assert not verify_consistency(old, old_root, size, root, altered)


def test_every_tree_begins_with_the_empty_one() -> None:
    root = merkle_root(LEAVES)
    assert verify_consistency(0, EMPTY_ROOT, 8, root, consistency_path(LEAVES, 0))
    assert not verify_consistency(0, root, 8, root, ())
    assert verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())


def test_steps_of_another_length_prove_nothing() -> None:
    root, path = merkle_root(LEAVES), inclusion_path(LEAVES, 3)
    assert not verify_inclusion(root, 8, 3, LEAVES[3], (path[0][:31], *path[1:]))
    assert not verify_inclusion(root, 8, 3, LEAVES[3], (bytes(32),) * 64)


@pytest.mark.parametrize(("size", "index"), [(0, 0), (3, 3), (3, -1)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(size: int, index: int) -> None:
    with pytest.raises(IndexError, match=f"a tree of {size} leaves has no leaf {index}"):
        inclusion_path(LEAVES[:size], index)
    assert not verify_inclusion(merkle_root(LEAVES[:size]), size, index, b"", ())


@pytest.mark.parametrize("old", [-1, 9])
def test_there_is_no_proof_of_a_tree_that_never_was(old: int) -> None:
    with pytest.raises(IndexError, match=f"a tree of 8 leaves never had {old}"):
        consistency_path(LEAVES, old)


@given(st.integers(0, 300), st.integers(0, 300))
def test_full_subtrees_cover_a_range_once(start: int, length: int) -> None:
    covered = [
        leaf
        for level, index in full_subtrees(start, start + length)
        for leaf in range(index << level, (index + 1) << level)
    ]
    assert covered == list(range(start, start + length))


@given(leaf_lists)
def test_full_subtrees_join_to_the_root(leaves: list[bytes]) -> None:
    hashes = [leaf_hash(leaf) for leaf in leaves]
    roots = [
        root_of_hashes(hashes[index << level : (index + 1) << level])
        for level, index in full_subtrees(0, len(leaves))
    ]
    assert joined(roots) == merkle_root(leaves)
