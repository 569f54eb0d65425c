"""Padding, so that the size on the wire tells little about the text inside."""

from typing import Final

# The true length, as an unsigned 32-bit number, stands before the text.
LENGTH_BYTES: Final = 4


def pad(plaintext: bytes, size: int) -> bytes:
    """Return `plaintext` with its length before it and zeros behind it, `size` bytes in all."""
    padded = len(plaintext).to_bytes(LENGTH_BYTES, "big") + plaintext
    return padded.ljust(size, b"\0")


def unpad(padded: bytes) -> bytes | None:
    """Return the text inside, or None when length or zeros are not as `pad` writes them."""
    length = int.from_bytes(padded[:LENGTH_BYTES], "big")
    end = LENGTH_BYTES + length
    if len(padded) < LENGTH_BYTES or end > len(padded) or padded.count(0, end) != len(padded) - end:
        return None
    return padded[LENGTH_BYTES:end]
