"""Merkle trees as RFC 9162, section 2.1, defines them: roots, and proofs that anyone can check.

Sizes and indices count leaves from 0; every hash is 32 bytes of SHA-256. A range (start, end) names
the leaves from `start` up to, not including, `end`.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()
# A path has one hash a level, and no tree here has more leaves than a signed 64-bit integer counts.
MAXIMUM_PATH: Final = 63

Range = tuple[int, int]


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf; the byte before it keeps a leaf from passing for a node."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees side by side."""
    return sha256(b"\1" + left + right).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the leaves in their order; no leaves have EMPTY_ROOT."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, or over the roots of equally large full subtrees."""
    level = list(hashes)
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        # An odd last one has no partner: it moves up as it is.
        parents = list(map(node_hash, level[::2], level[1::2]))
        level = parents + level[len(parents) * 2 :]
    return level[0]


def inclusion_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the proof that the leaf at `index` is under the root of `leaves`.

    Raises IndexError when there is no such leaf.
    """
    hashes = [leaf_hash(leaf) for leaf in leaves]
    return tuple(
        root_of_hashes(hashes[start:end]) for start, end in inclusion_ranges(index, len(hashes))
    )


def consistency_path(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of the first `old_size` leaves grew into that of all.

    Raises IndexError when `old_size` is negative or more than there are.
    """
    hashes = [leaf_hash(leaf) for leaf in leaves]
    return tuple(
        root_of_hashes(hashes[start:end])
        for start, end in consistency_ranges(old_size, len(hashes))
    )


def inclusion_ranges(index: int, size: int) -> tuple[Range, ...]:
    """Return the ranges whose roots are the inclusion proof of one leaf, from the leaf upwards."""
    if not 0 <= index < size:
        raise IndexError(f"a tree of {size} leaves has no leaf {index}")
    ranges, start, end = list[Range](), 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return tuple(reversed(ranges))


def consistency_ranges(old_size: int, size: int) -> tuple[Range, ...]:
    """Return the ranges whose roots prove that a tree of `old_size` is this one's beginning."""
    if not 0 <= old_size <= size:
        raise IndexError(f"a tree of {size} leaves never had {old_size}")
    if old_size in (0, size):
        return ()
    ranges, start, end = list[Range](), 0, size
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    # Who checks the proof has the old root; only a part of the old tree must be told.
    if start:
        ranges.append((start, end))
    return tuple(reversed(ranges))


def full_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the full subtrees of a range from left to right, as (level, index at that level)."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def joined(roots: Sequence[bytes]) -> bytes:
    """Return the root over full subtrees of falling size, as `full_subtrees` names them."""
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = node_hash(left, root)
    return root


def verify_inclusion(
    root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]
) -> bool:
    """Tell whether `path` proves that `leaf` is the leaf `index` of the tree with this root."""
    return verify_hash_inclusion(root, size, index, leaf_hash(leaf), path)


def verify_hash_inclusion(
    root: bytes, size: int, index: int, hash_of_leaf: bytes, path: Sequence[bytes]
) -> bool:
    """Tell the same of a leaf that only its hash is known of (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size or not _is_path(path):
        return False
    node, last, result = index, size - 1, hash_of_leaf
    for step in path:
        if not last:
            return False
        if node & 1 or node == last:
            result = node_hash(step, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, step)
        node, last = node >> 1, last >> 1
    return not last and result == root


def verify_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]
) -> bool:
    """Tell whether `path` proves that the old tree is the beginning of the new one.

    RFC 9162, section 2.1.4.2; every tree begins with the empty one, and with itself.
    """
    if not 0 <= old_size <= size or not _is_path(path):
        return False
    if old_size == size:
        return not path and old_root == root
    if not old_size:
        return not path and old_root == EMPTY_ROOT
    steps = [old_root, *path] if not old_size & (old_size - 1) else list(path)
    if not steps:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_result = result = steps[0]
    for step in steps[1:]:
        if not last:
            return False
        if node & 1 or node == last:
            old_result, result = node_hash(step, old_result), node_hash(step, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, step)
        node, last = node >> 1, last >> 1
    return not last and old_result == old_root and result == root


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`, which is 2 or more."""
    return 1 << ((size - 1).bit_length() - 1)


def _is_path(path: Sequence[bytes]) -> bool:
    return len(path) <= MAXIMUM_PATH and all(len(step) == HASH_BYTES for step in path)
