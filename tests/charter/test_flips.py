"""Bytes altered anywhere in the public files; `benchmarks/charter_flips.py` turns every one."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.charter.errors import CharterError
from peerllm.charter.store import Charter
from tests.charter.small_charter import SmallCharter, small_charter


@pytest.fixture(scope="module")
def charter(tmp_path_factory: pytest.TempPathFactory) -> SmallCharter:
    return small_charter(tmp_path_factory.mktemp("flips"))


@pytest.fixture(scope="module")
def genuine(charter: SmallCharter) -> Charter:
    return charter.verify()


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_altered_byte_is_refused_or_changes_nothing(
    charter: SmallCharter, genuine: Charter, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(_files(charter.folder))))
    content = path.read_bytes()
    altered = bytearray(content)
    altered[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(altered)
    try:
        # A byte may be spelled otherwise in JSON; what it says must then be the same.
        assert charter.verify() == genuine
    except CharterError:
        pass
    finally:
        path.write_bytes(content)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_half_a_file_is_refused_or_changes_nothing(
    charter: SmallCharter, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(_files(charter.folder))))
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    try:
        pytest.fail(f"{path.name}: half of it makes {charter.verify()}")
    except CharterError:
        pass
    finally:
        path.write_bytes(content)


def test_the_small_charter_has_a_file_of_every_kind(charter: SmallCharter) -> None:
    names = {path.relative_to(charter.folder).parts[0] for path in _files(charter.folder)}
    assert names == {"ballots", "metadata", "targets"}
    verified = charter.verify()
    assert (verified.version, list(verified.capacities), verified.notices) == (2, ["north"], ())


def _files(folder: Path) -> list[Path]:
    # The lock that publishers hold is empty: it has no byte to alter.
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
