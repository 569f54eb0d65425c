"""The memory that serving a model takes, by whichever engine reads its file."""

from peerllm.peer.gguf import ModelShape
from peerllm.peer.legacy_format import LegacyFormat, predict_legacy_memory
from peerllm.peer.memory import MemoryNeed, predict_memory
from peerllm.peer.sequences import PREFILL_TOKENS


def serving_memory(
    shape: ModelShape, legacy: LegacyFormat | None, *, slots: int, context_tokens: int
) -> MemoryNeed:
    """What answers of so many tokens take: `slots` at once, or one from a legacy file."""
    if legacy:
        return predict_legacy_memory(shape, context_tokens=context_tokens)
    return predict_memory(
        shape,
        slots=slots,
        context_tokens=min(context_tokens, shape.trained_context_tokens),
        batch_tokens=max(PREFILL_TOKENS, slots),
    )
