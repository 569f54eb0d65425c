"""What human raters call unsafe in posts and stories, told by likeness to those they rated.

A network that learns from all kinds of texts learns what most of them ask for, and ranks posts
worse than a kernel machine (Gaussian; kernel ridge regression) that knows the rated ones alone. It
counts as far as a text looks like one of them: of requests it knows nothing. Trained by
`benchmarks/safety/train_rated_posts.py`.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy

from peerllm.safety.errors import ModelFileError
from peerllm.safety.gate_categories import Floats
from peerllm.safety.multilingual_encoder import DIMENSIONS

MODEL_PATH: Final = Path(__file__).parent / "data" / "rated_posts.npz"
# One over the squared distance, 0 to 4, at which a rated text counts 1/e.
WIDTH: Final = 1.5
# Logits for a text exactly as the most unsafe ones, harmless ones take as many off. 16 ranks the
# rated set better by .005, and misses a request of HarmBench in three ways of counting in five.
SHARE: Final = 8.0
_SMALLEST_LENGTH: Final = 1e-6


@dataclass(frozen=True, slots=True)
class RatedPosts:
    """The rated texts' encodings, less `mean` and of length one, each with its weight.

    `kind` and `kind_offset` tell by logistic regression whether a text is like any of them.
    """

    PARTS: ClassVar = ("mean", "rated", "weights", "kind", "kind_offset")

    mean: Floats
    rated: Floats
    weights: Floats
    kind: Floats
    kind_offset: Floats

    @classmethod
    def load(cls, path: Path = MODEL_PATH) -> "RatedPosts":
        """The shipped weights. Raises `ModelFileError` when the file is missing or damaged."""
        try:
            with numpy.load(path, allow_pickle=False) as stored:
                parts = [numpy.asarray(stored[name], dtype=numpy.float32) for name in cls.PARTS]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelFileError(f"the model {path} cannot be read; install again") from error
        posts = cls(*parts)
        if not posts.fits():
            raise ModelFileError(f"the model {path} is of another version; install again")
        return posts

    def fits(self) -> bool:
        """Whether the shapes agree with each other and the encoder, and all numbers are finite."""
        return (
            self.mean.shape == self.kind.shape == (DIMENSIONS,)
            and self.rated.shape == (self.weights.size, DIMENSIONS)
            and self.weights.ndim == 1
            and self.kind_offset.shape == ()
            and all(numpy.isfinite(getattr(self, name)).all() for name in self.PARTS)
        )

    def logits(self, encodings: Floats) -> Floats:
        """What is added to a text's logits, by the mean encoding of its windows; of one or many."""
        added: Floats = SHARE * self.likeness(encodings) * self.rating(encodings)
        return added

    def likeness(self, encodings: Floats) -> Floats:
        """How certain it is that a text is one such as were rated, 0 to 1."""
        odds = encodings @ self.kind + self.kind_offset
        likeness: Floats = 1 / (1 + numpy.exp(-numpy.clip(odds, -50, 50)))
        return likeness

    def rating(self, encodings: Floats) -> Floats:
        """How unsafe raters would call it: about -.5 (harmless) to .5."""
        near = direction(encodings - self.mean) @ self.rated.T
        rating: Floats = numpy.exp(WIDTH * (2 * near - 2)) @ self.weights
        return rating


def direction(encodings: Floats) -> Floats:
    """Encodings, one or one a row, of length one."""
    lengths = numpy.linalg.norm(encodings, axis=-1, keepdims=True)
    return numpy.asarray(encodings / numpy.maximum(lengths, _SMALLEST_LENGTH))
