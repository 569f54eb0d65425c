from pathlib import Path

import msgspec
import pytest

from peerllm.peer.errors import ConfigurationError
from peerllm.peer.measurements import Measurement, Measurements

DIGEST = bytes(range(32))
MEASURED = Measurement(
    threads=3,
    slots=4,
    prefill_milli=150_000,
    decode_milli=60_000,
    decode_all_milli=100_000,
    build="b",
    hardware="h",
)


def test_figures_count_for_the_same_model_build_and_machine_only(tmp_path: Path) -> None:
    measurements = Measurements(tmp_path)
    assert measurements.of(DIGEST) is None
    measurements.remember(DIGEST, MEASURED)
    measurements.remember(bytes(32), msgspec.structs.replace(MEASURED, slots=1))
    measurements = Measurements(tmp_path)
    assert measurements.of(DIGEST) == MEASURED
    assert measurements.valid(DIGEST, build="b", hardware="h") == MEASURED
    assert measurements.valid(DIGEST, build="c", hardware="h") is None
    assert measurements.valid(DIGEST, build="b", hardware="i") is None
    assert measurements.valid(bytes(reversed(DIGEST)), build="b", hardware="h") is None


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.joinpath("measurements.json").write_text("{")
    with pytest.raises(ConfigurationError):
        Measurements(tmp_path).of(DIGEST)
