"""What a pool of engines works with: files, engines, memory, and whom it tells."""

from collections.abc import Callable
from dataclasses import dataclass

from peerllm.peer.model_files import ModelFiles
from peerllm.peer.pooled_model import OpenEngine, PooledModel


@dataclass(frozen=True)
class PoolParts:
    """What a pool works with; everything that differs between a test and a host.

    `slots`: answers of all models together. `own_memory`: what the daemon itself takes of the
    owner's cap. `weights_count_as_free`: whether the system
    counts mapped files as free memory. `on_change` is told of a model's new state, and with
    None that slots may be other ones without one.
    """

    slots: int
    files: ModelFiles
    open_engine: OpenEngine
    free_memory: Callable[[], int]
    own_memory: Callable[[], int]
    weights_count_as_free: bool
    on_change: Callable[[PooledModel | None], None] = lambda _model: None
