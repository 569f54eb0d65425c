"""Tasks that an engine process has, as the daemon sees them: what was said, what is awaited."""

import math
from typing import Final

import trio

from peerllm.peer.engine_protocol import Finished, Refused, Scored, Started, Tokens
from peerllm.peer.generation import (
    AnswerScores,
    GeneratedPiece,
    GenerationFailed,
    GenerationRefused,
    GenerationStep,
    ScoreOutcome,
)

# Keeps a piece far below the wire's bounds for tokens (4096) and text (16384 characters).
_PIECE_TOKENS: Final = 32

_Word = Started | Tokens | Finished | Refused | Scored | GenerationFailed


class RunningTask:
    """One task that the engine has, and what it has said about it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.started_at = trio.current_time()
        self._prompt_tokens = 0
        # Unbounded: an answer is never longer than the model's context.
        self._put, self._ready = trio.open_memory_channel[_Word](math.inf)

    def put(self, message: _Word) -> None:
        """Hand over what the engine said about this task."""
        self._put.send_nowait(message)


class RunningScore(RunningTask):
    """One claimed answer being checked."""

    async def outcome(self) -> ScoreOutcome:
        """Wait for the engine's word."""
        while True:
            match await self._ready.receive():
                case Started(prompt_tokens=prompt_tokens):
                    self._prompt_tokens = prompt_tokens
                case Scored() as scored:
                    return AnswerScores(
                        self._prompt_tokens, tuple(scored.would_draw), tuple(scored.margins)
                    )
                case Refused() as refused:
                    return GenerationRefused(refused.reason)
                case GenerationFailed() | Tokens() | Finished() as word:
                    return _failure(word)


class RunningGeneration(RunningTask):
    """One answer under way; see `generation.Generation`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._end: GenerationStep | None = None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the rendered prompt; 0 until the engine has started on it."""
        return self._prompt_tokens

    async def next(self) -> GenerationStep:
        """Wait for something to be ready, then give all that is ready."""
        if self._end is not None:
            await trio.lowlevel.checkpoint()
            return self._end
        tokens: list[int] = []
        text = ""
        while len(tokens) < _PIECE_TOKENS:
            try:
                message = self._ready.receive_nowait()
            except trio.WouldBlock:
                if tokens:
                    break
                message = await self._ready.receive()
            match message:
                case Started():
                    self._prompt_tokens = message.prompt_tokens
                case Tokens():
                    tokens += message.tokens
                    text += message.text
                case Finished():
                    self._end = GeneratedPiece((), "", message.finish)
                    return GeneratedPiece(tuple(tokens), text, message.finish)
                case Refused():
                    self._end = GenerationRefused(message.reason)
                    return self._end
                case GenerationFailed() | Scored():
                    self._end = _failure(message)
                    return GeneratedPiece(tuple(tokens), text) if tokens else self._end
        return GeneratedPiece(tuple(tokens), text)


def _failure(word: _Word) -> GenerationFailed:
    # An engine that answers another question than it was asked is as good as dead.
    return word if isinstance(word, GenerationFailed) else GenerationFailed("engine_died")
