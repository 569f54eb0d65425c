"""What this machine did with its models, kept by model: threads and slots are chosen by it."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peerllm.peer.files import read_state, write_state

_VERSION: Final = 1

DigestHex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine does with a model; rates in thousandths of a token per second."""

    threads: int
    slots: int
    prefill_milli: int
    decode_milli: int
    # All slots together.
    decode_all_milli: int
    # Of the inference library and of the machine; figures of others are not believed.
    build: str
    hardware: str


class _MeasurementsFile(msgspec.Struct, frozen=True, kw_only=True):
    version: Annotated[int, Meta(ge=_VERSION, le=_VERSION)] = _VERSION
    models: dict[DigestHex, Measurement] = {}


class Measurements:
    """Reads and writes the file. Raises `ConfigurationError` when it is damaged."""

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / "measurements.json"

    def of(self, digest: bytes) -> Measurement | None:
        """What was measured of this model, wherever and with whatever."""
        return self._models().get(digest.hex())

    def valid(self, digest: bytes, *, build: str, hardware: str) -> Measurement | None:
        """What was measured of this model with this build on this machine."""
        known = self.of(digest)
        if known is None or (known.build, known.hardware) != (build, hardware):
            return None
        return known

    def remember(self, digest: bytes, measurement: Measurement) -> None:
        """Keep what was measured, in place of what was known."""
        write_state(
            self._path, _MeasurementsFile(models=self._models() | {digest.hex(): measurement})
        )

    def _models(self) -> dict[str, Measurement]:
        found = read_state(self._path, _MeasurementsFile)
        return dict(found.models) if found else {}
