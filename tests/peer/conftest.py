from collections.abc import Iterator

import pytest

from peerllm.peer.llama import LlamaModel
from peerllm.peer.models import embedded_model_path


@pytest.fixture(scope="session")
def model() -> Iterator[LlamaModel]:
    """The real embedded model, loaded once into the test process."""
    loaded = LlamaModel(embedded_model_path())
    yield loaded
    loaded.close()
