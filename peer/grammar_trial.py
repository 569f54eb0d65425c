"""The throw-away process in which a new grammar is tried before any engine sees it.

Run as `python -m peerllm.peer.grammar_trial` with a `GrammarTrial` on standard input. It
compiles the grammar and walks a little way through it with a model's vocabulary. Exit code 0
says that this went well within its bounds; the library may also end the process in its own way.
"""

import contextlib
import os
import random
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import psutil

from peerllm.crypto.encoding import decode
from peerllm.crypto.errors import DecodingError
from peerllm.peer.errors import PeerError
from peerllm.peer.grammar_state import CANDIDATE, GrammarState
from peerllm.peer.llama import LlamaModel
from peerllm.privacy.process_memory import forbid_memory_dumps

MAXIMUM_TRIAL_BYTES: Final = 1024 * 1024
REFUSED: Final = 3
# Into the second or third property of a typical object, at 5 to 27 ms a step.
_STEPS: Final = 24
# The widest grammars in bounds took 1.2 s; a machine six times slower still passes them.
_WALK_CPU_SECONDS: Final = 8.0
# A grammar in bounds takes a few megabytes.
_MEMORY_BYTES: Final = 512 * 1024 * 1024


class GrammarTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A grammar, and the model file whose vocabulary it is tried with."""

    model: str
    grammar: str

    def __repr__(self) -> str:
        return "GrammarTrial(<hidden>)"


def walk(model: LlamaModel, grammar: str, draw: random.Random) -> bool:
    """Whether random tokens that fit lead on, or to the end, without taking too long."""
    state = GrammarState(model, grammar)
    began = time.process_time()
    for _ in range(_STEPS):
        candidates = np.zeros(model.vocabulary_size, dtype=CANDIDATE)
        candidates["id"] = np.arange(model.vocabulary_size)
        state.forbid_unfitting(candidates)
        fitting = np.flatnonzero(np.isfinite(candidates["logit"]))
        if len(fitting) == 0 or time.process_time() - began > _WALK_CPU_SECONDS:
            return False
        token = int(draw.choice(fitting))
        if model.is_end(token):
            return True
        state.accept(token)
    return True


def _limit_memory() -> None:
    try:
        import resource  # noqa: PLC0415 - Windows has none; there the time limit alone holds
    except ImportError:
        return
    bound = psutil.Process().memory_info().vms + _MEMORY_BYTES
    # macOS knows the limit and refuses to set it.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def main() -> None:
    """Try what stands on standard input; never returns to a place that could print."""
    forbid_memory_dumps()
    code = REFUSED
    with contextlib.suppress(PeerError, DecodingError, MemoryError):
        raw = sys.stdin.buffer.read(MAXIMUM_TRIAL_BYTES + 1)
        trial = decode(raw, GrammarTrial, maximum_bytes=MAXIMUM_TRIAL_BYTES)
        model = LlamaModel(Path(trial.model), vocabulary_only=True)
        _limit_memory()
        # Any seed will do, as long as the same grammar always takes the same walk.
        if walk(model, trial.grammar, random.Random(0)):  # noqa: S311 - no secret
            code = 0
    os._exit(code)


if __name__ == "__main__":
    main()
