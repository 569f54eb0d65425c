"""MessagePack at every trust boundary: bytes become one typed, bounded value or a DecodingError."""

import re
from typing import Any, Final, TypeVar, overload

import msgpack  # type: ignore[import-untyped]  # ships no types; this is its only caller
import msgspec

from peerllm.crypto.errors import DecodingError

T = TypeVar("T")

# msgpack allocates a list before it has read its items, and lists nest up to 1,024 deep: without
# this bound a 2 MiB frame of nested list headers makes it reserve 16 GB. With it: 64 MB.
MAXIMUM_ITEMS: Final = 8192

# What msgspec writes for the place of a fault: field names and positions, never data.
_PLACE: Final = re.compile(
    r" - at `(\$(?:\.[a-z][a-z0-9_]{0,63}|\[(?:[0-9]{1,6}|\.\.\.)\]){1,16})`$"
)


def encode(value: msgspec.Struct) -> bytes:
    """Return the canonical MessagePack of a value: fields as declared, dict keys sorted.

    The shortest form of every integer and length is used, so equal values give equal bytes.
    """
    plain = msgspec.to_builtins(value, builtin_types=(bytes,), order="deterministic")
    raw: bytes = msgpack.packb(plain, use_bin_type=True)
    return raw


@overload
def decode(raw: bytes, kind: type[T], *, maximum_bytes: int) -> T: ...
@overload
def decode(raw: bytes, kind: Any, *, maximum_bytes: int) -> Any: ...
def decode(raw: bytes, kind: Any, *, maximum_bytes: int) -> Any:
    """Parse bytes into a `kind`: a Struct or a union of tagged Structs. Ignores unknown fields.

    Raises DecodingError, which names the place of the fault but never quotes the data.
    """
    plain, problem = _unpack(raw, maximum_bytes)
    if not problem:
        try:
            return msgspec.convert(plain, kind, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            place = _PLACE.search(str(error))
            problem = f"wrong type, tag or size at {place[1] if place else '$'}"
    # Raised out here so that the cause, which may quote the data, is not chained to it.
    raise DecodingError(f"cannot read {getattr(kind, '__name__', 'message')}: {problem}")


@overload
def decode_canonical(raw: bytes, kind: type[T], *, maximum_bytes: int) -> T: ...
@overload
def decode_canonical(raw: bytes, kind: Any, *, maximum_bytes: int) -> Any: ...
def decode_canonical(raw: bytes, kind: Any, *, maximum_bytes: int) -> Any:
    """Parse like `decode`, and refuse bytes that `encode` would not have written.

    For signed values: one value has one encoding, so nothing unseen rides under a signature.
    """
    value = decode(raw, kind, maximum_bytes=maximum_bytes)
    if encode(value) != raw:
        name = getattr(kind, "__name__", "message")
        raise DecodingError(f"cannot read {name}: not in canonical form")
    return value


def _unpack(raw: bytes, maximum_bytes: int) -> tuple[object, str]:
    """Return the untyped value and "", or None and what is wrong with the bytes."""
    if len(raw) > maximum_bytes:
        return None, f"{len(raw)} bytes, at most {maximum_bytes} are allowed"
    try:
        plain = msgpack.unpackb(
            raw,
            raw=False,
            strict_map_key=True,
            max_str_len=len(raw),
            max_bin_len=len(raw),
            max_array_len=MAXIMUM_ITEMS,
            max_map_len=MAXIMUM_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, msgpack.exceptions.UnpackException):
        return None, "not one complete MessagePack value within bounds"
    return plain, ""
