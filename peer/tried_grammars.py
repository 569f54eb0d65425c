"""Which forms of answers an engine may be given: each is tried once, in a process of its own."""

import hashlib
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from peerllm.crypto.encoding import encode
from peerllm.overlay.answer_shape import AnswerShape
from peerllm.overlay.shape_faults import fault_of
from peerllm.peer.grammar import grammar_of
from peerllm.peer.grammar_trial import MAXIMUM_TRIAL_BYTES, REFUSED, GrammarTrial

_MODULE: Final = "peerllm.peer.grammar_trial"
# A second on a busy machine of two cores; a customer would not wait longer for a first token.
_TRIAL_SECONDS: Final = 12.0
# A digest and a verdict each: 100 KB, and more forms than one host is asked for in a day.
_REMEMBERED: Final = 1024

_DOES_NOT_COMPILE: Final = "the form of the answer cannot be compiled for this model"


class TriedGrammars:
    """Tries the grammars of one model, and remembers the verdicts used latest."""

    def __init__(self, model: Path, *, remembered: int = _REMEMBERED) -> None:
        self._model = model
        self._remembered = remembered
        self._verdicts: OrderedDict[bytes, bool] = OrderedDict()

    def __repr__(self) -> str:
        return f"TriedGrammars({len(self._verdicts)} verdicts)"

    def passed(self, shape: AnswerShape) -> bool:
        """Whether this form was tried before and may be given to the engine."""
        return self._recall(_digest(shape)) is True

    async def fault(self, shape: AnswerShape) -> str | None:
        """Why this form cannot be given to the engine, in words that quote nothing; or None."""
        digest = _digest(shape)
        passed = self._recall(digest)
        if passed is None:
            fault = fault_of(shape)
            if fault is not None:
                return f"no answer can have the form asked for: {fault}"
            code = await self._try(grammar_of(shape))
            if code is None:
                # Perhaps the machine was busy: not remembered.
                return f"the form of the answer was not tried within {_TRIAL_SECONDS:.0f} seconds"
            passed = code == 0
            # Whatever else ended the process would do so to an engine.
            self._remember(digest, passed)
        return None if passed else _DOES_NOT_COMPILE

    async def _try(self, grammar: str) -> int | None:
        """The exit code; None when time ran out or no process could be started."""
        order = encode(GrammarTrial(model=str(self._model), grammar=grammar))
        if len(order) > MAXIMUM_TRIAL_BYTES:
            return REFUSED
        with trio.move_on_after(_TRIAL_SECONDS), suppress(OSError):
            # Cancelled, trio kills and reaps it. The grammar goes by the pipe: what stands on
            # a command line can be read by everyone on the machine.
            ended = await trio.run_process(
                [sys.executable, "-P", "-m", _MODULE],
                stdin=order,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            return ended.returncode
        return None

    def _recall(self, digest: bytes) -> bool | None:
        if digest in self._verdicts:
            self._verdicts.move_to_end(digest)
        return self._verdicts.get(digest)

    def _remember(self, digest: bytes, passed: bool) -> None:
        self._verdicts[digest] = passed
        while len(self._verdicts) > self._remembered:
            self._verdicts.popitem(last=False)


def _digest(shape: AnswerShape) -> bytes:
    # Of the form, not of its grammar: what is remembered need not be judged and written anew.
    return hashlib.sha256(encode(shape)).digest()
