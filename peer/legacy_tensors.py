"""The tensors that a model file of before GGUF must have, by architecture."""

from dataclasses import dataclass
from typing import Final

# 32-bit floats.
_PLAIN: Final = 0


@dataclass(frozen=True)
class LegacyTensor:
    """Lengths of its dimensions, rows first, and ggml's number of its type."""

    dimensions: tuple[int, ...]
    # None: any that LLaMA files have.
    kind: int | None
    # The library does without it.
    optional: bool = False


def values_of(tensor: LegacyTensor) -> int:
    """How many numbers a tensor has."""
    values = 1
    for length in tensor.dimensions:
        values *= length
    return values


def gpt2_tensors(
    vocabulary: int, context: int, width: int, blocks: int, matrix: int
) -> dict[str, LegacyTensor]:
    """Tensors of a GPT-2 model, by name; matrices are of the type given."""

    def plain(*dimensions: int) -> LegacyTensor:
        return LegacyTensor(dimensions, _PLAIN)

    tensors = {
        "model/ln_f/g": plain(width),
        "model/ln_f/b": plain(width),
        "model/wte": LegacyTensor((width, vocabulary), matrix),
        "model/wpe": plain(width, context),
        "model/lm_head": LegacyTensor((width, vocabulary), matrix, optional=True),
    }
    for block in range(blocks):
        at = f"model/h{block}"
        for norm in ("ln_1", "ln_2"):
            tensors |= {f"{at}/{norm}/g": plain(width), f"{at}/{norm}/b": plain(width)}
        for name, rows, columns in (
            ("attn/c_attn", width, 3 * width),
            ("attn/c_proj", width, width),
            ("mlp/c_fc", width, 4 * width),
            ("mlp/c_proj", 4 * width, width),
        ):
            tensors[f"{at}/{name}/w"] = LegacyTensor((rows, columns), matrix)
            tensors[f"{at}/{name}/b"] = plain(columns)
    return tensors


def llama_tensors(
    vocabulary: int, width: int, feed_forward: int, blocks: int
) -> dict[str, LegacyTensor]:
    """Tensors of a LLaMA model, by name."""

    def matrix(rows: int, columns: int) -> LegacyTensor:
        return LegacyTensor((rows, columns), None)

    norm = LegacyTensor((width,), _PLAIN)
    tensors = {
        "tok_embeddings.weight": matrix(width, vocabulary),
        "norm.weight": norm,
        "output.weight": matrix(width, vocabulary),
    }
    for block in range(blocks):
        at = f"layers.{block}"
        tensors |= {f"{at}.{name}.weight": norm for name in ("attention_norm", "ffn_norm")}
        for name in ("wq", "wk", "wv", "wo"):
            tensors[f"{at}.attention.{name}.weight"] = matrix(width, width)
        tensors[f"{at}.feed_forward.w1.weight"] = matrix(width, feed_forward)
        tensors[f"{at}.feed_forward.w2.weight"] = matrix(feed_forward, width)
        tensors[f"{at}.feed_forward.w3.weight"] = matrix(width, feed_forward)
    return tensors
