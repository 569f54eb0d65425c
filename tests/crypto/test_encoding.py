from typing import Annotated

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.crypto.encoding import MAXIMUM_ITEMS, decode, decode_canonical, encode
from peerllm.crypto.errors import CryptoError, DecodingError


class Work(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    digest: Annotated[bytes, msgspec.Meta(max_length=32)]
    text: str = ""
    amounts: dict[str, int] = {}
    numbers: list[int] = []


class Rest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    seconds: Annotated[int, msgspec.Meta(ge=0, le=60)]


int64 = st.integers(-(2**63), 2**63 - 1)
works = st.builds(
    Work,
    digest=st.binary(max_size=32),
    text=st.text(),
    amounts=st.dictionaries(st.text(max_size=8), int64, max_size=4),
    numbers=st.lists(int64, max_size=8),
)
messages = works | st.builds(Rest, seconds=st.integers(0, 60))


@given(messages)
def test_every_value_survives_and_is_canonical(message: Work | Rest) -> None:
    raw = encode(message)
    assert decode(raw, Work | Rest, maximum_bytes=1 << 20) == message
    assert decode_canonical(raw, Work | Rest, maximum_bytes=1 << 20) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_decoding_error(raw: bytes) -> None:
    try:
        value = decode(raw, Work | Rest, maximum_bytes=200)
    except DecodingError:
        return
    assert isinstance(value, Work | Rest)


@given(works, st.data())
def test_truncated_bytes_are_refused(work: Work, data: st.DataObject) -> None:
    raw = encode(work)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(DecodingError):
        decode(raw[:cut], Work, maximum_bytes=1 << 20)
    with pytest.raises(DecodingError):
        decode(raw + raw[cut:], Work, maximum_bytes=1 << 20)


@given(works, st.data())
def test_one_value_has_one_canonical_encoding(work: Work, data: st.DataObject) -> None:
    raw = bytearray(encode(work))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        changed = decode_canonical(bytes(raw), Work, maximum_bytes=1 << 20)
    except DecodingError:
        return
    assert changed != work


def test_dict_order_does_not_change_the_encoding() -> None:
    one = Work(digest=b"", amounts={"b": 1, "a": 2})
    other = Work(digest=b"", amounts={"a": 2, "b": 1})
    assert encode(one) == encode(other)


def _raw_rest(**fields: object) -> bytes:
    return bytes(msgpack.packb({"type": "Rest", "seconds": 5} | fields))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(_raw_rest(unknown=1), id="unknown field"),
        pytest.param(bytes(msgpack.packb({"seconds": 5, "type": "Rest"})), id="other order"),
        pytest.param(encode(Rest(seconds=5))[:-1] + b"\xcc\x05", id="longer integer"),
        pytest.param(
            b"\x83" + encode(Rest(seconds=5))[1:] + b"\xa7seconds\x05", id="field given twice"
        ),
    ],
)
def test_other_spellings_are_read_but_not_canonical(raw: bytes) -> None:
    assert decode(raw, Rest, maximum_bytes=100) == Rest(seconds=5)
    with pytest.raises(DecodingError, match="canonical"):
        decode_canonical(raw, Rest, maximum_bytes=100)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(_raw_rest(seconds=61), id="out of bounds"),
        pytest.param(_raw_rest(seconds="5"), id="text for a number"),
        pytest.param(_raw_rest(seconds=5.0), id="float for a number"),
        pytest.param(_raw_rest(type="Other"), id="unknown tag"),
        pytest.param(_raw_rest(extra=msgpack.Timestamp(1)), id="extension type"),
        pytest.param(_raw_rest(extra=[0] * (MAXIMUM_ITEMS + 1)), id="too many items"),
        pytest.param(_raw_rest() + b"\x00", id="trailing byte"),
        pytest.param(b"\x91" * 5_000, id="nested too deep"),
        pytest.param(b"\xdd\x00\x1f\xff\xff" * 1_000 + bytes(2 << 20), id="huge list headers"),
        pytest.param(b"\x81\xa1\xff\x01", id="not UTF-8"),
        pytest.param(b"\x81\x90\x01", id="a list as key"),
    ],
)
def test_hostile_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(DecodingError):
        decode(raw, Work | Rest, maximum_bytes=4 << 20)


def test_text_is_not_taken_for_bytes() -> None:
    raw = bytes(msgpack.packb({"type": "Work", "digest": "aGVsbG8="}))
    with pytest.raises(DecodingError, match=r"\$\.digest"):
        decode(raw, Work, maximum_bytes=100)


def test_size_is_checked_before_parsing() -> None:
    raw = encode(Rest(seconds=5))
    assert decode(raw, Rest, maximum_bytes=len(raw)) == Rest(seconds=5)
    with pytest.raises(DecodingError, match=f"at most {len(raw) - 1}"):
        decode(raw, Rest, maximum_bytes=len(raw) - 1)


@pytest.mark.parametrize(
    "raw",
    [
        _raw_rest(type="my secret diary"),
        _raw_rest(type="my secret` - at `$.secret"),
        _raw_rest(seconds="my secret diary"),
        b"\xae" + b"my secret diar\xff",
        b"\xa6secret" * 2,
    ],
)
def test_errors_never_quote_the_data(raw: bytes) -> None:
    with pytest.raises(DecodingError) as caught:
        decode(raw, Work | Rest, maximum_bytes=100)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_wrongly_declared_kind_is_a_bug_and_not_a_decoding_error() -> None:
    class Impossible(msgspec.Struct):
        number: Annotated[int, msgspec.Meta(lt=2**63)]

    with pytest.raises(ValueError, match="int64") as caught:
        decode(b"\x81\xa6number\x01", Impossible, maximum_bytes=100)
    assert not isinstance(caught.value, CryptoError)
