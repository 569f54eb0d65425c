"""How much memory a model will take, known before it is loaded.

A system that promises more memory than it has would kill the engine, or another program
of the owner, only in the middle of work.
"""

from dataclasses import dataclass
from typing import Final

from peerllm.peer.errors import ModelError
from peerllm.peer.gguf import ModelShape

# An engine process without a model: Python, the inference library and numpy (measured: 61 MB).
_PROCESS_BYTES: Final = 64_000_000
# The library keeps a vocabulary in several tables (measured: 17 MB for a header of 1.7 MB).
_HEADER_EXPANSION: Final = 10
# Tensors of one block that are alive at once while computing, 4 bytes a value.
_ALIVE_TENSORS: Final = 8
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that serving a model takes, by what they are for."""

    weights: int
    cache: int
    computing: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.computing + self.process


def predict_memory(
    shape: ModelShape, *, slots: int, context_tokens: int, batch_tokens: int
) -> MemoryNeed:
    """What serving `slots` answers of `context_tokens` each will take.

    Measured: never too little, up to a seventh too much.
    """
    wide = _ALIVE_TENSORS * shape.embedding + 2 * shape.feed_forward
    # Which cells a token may see, once in 32 and once in 16 bits.
    mask = 2 * context_tokens
    # Logits lie in the graph and once more in the buffer that is handed out.
    logits = 2 * shape.vocabulary
    return MemoryNeed(
        weights=shape.weight_bytes,
        cache=shape.cache_bytes_per_token * slots * context_tokens,
        computing=4 * batch_tokens * (wide + mask + logits),
        process=_PROCESS_BYTES + _HEADER_EXPANSION * shape.header_bytes,
    )


def refuse_too_little_memory(need: MemoryNeed, *, available: int, cap: int = 0) -> None:
    """Return when the need fits into what is free and under the owner's cap (0: none).

    Raises `ModelError` with the numbers otherwise. All in bytes.
    """
    allowed = min(available, cap) if cap else available
    if need.total <= allowed:
        return
    limit = "the memory cap allows" if cap and cap < available else "free are"
    raise ModelError(
        "no_memory",
        f"serving this model takes {megabytes(need.total)} (weights {megabytes(need.weights)}, "
        f"answers {megabytes(need.cache)}, computing {megabytes(need.computing)}, "
        f"the process {megabytes(need.process)}), {limit} {megabytes(allowed)}: "
        "use fewer slots, a smaller context or a smaller model",
    )


def megabytes(count: int) -> str:
    """A number of bytes as an owner reads it, rounded up."""
    return f"{-(-count // _MEGABYTE)} MB"
