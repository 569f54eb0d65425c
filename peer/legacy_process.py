"""The engine process for model files of before GGUF: one model, one answer at a time.

Run as `python -m peerllm.peer.legacy_process`; it speaks as `peerllm.peer.engine_process`
does. What its library cannot do is refused with a sentence, never left out: see
docs/engines.md.
"""

import queue
import random
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from peerllm.peer.chat import ChatTemplate, ChatTurn
from peerllm.peer.engine_pipes import DaemonPipes, run_engine
from peerllm.peer.engine_protocol import (
    Cancel,
    EngineProtocolError,
    Finished,
    GenerationTask,
    Load,
    LoadFailed,
    Ready,
    Refused,
    Score,
    Started,
    Submit,
    Tokens,
    Tune,
    Tuned,
)
from peerllm.peer.errors import ModelError, PromptError
from peerllm.peer.legacy_format import (
    PIECE_TOKENS,
    LegacyFormat,
    predict_legacy_memory,
    usable_context,
)
from peerllm.peer.legacy_model import LegacyModel
from peerllm.peer.legacy_template import PLAIN_STOP, PLAIN_TEMPLATE
from peerllm.peer.memory import refuse_too_little_memory
from peerllm.peer.models import DigestCache, check_model
from peerllm.peer.niceness import be_nice, niceness
from peerllm.peer.released_text import ReleasedText

# What the library can do of a task. Whatever else one asks for is refused, also what
# later versions of the protocol add.
_SUPPORTED: Final = (
    "turns",
    "assistant_prefix",
    "max_tokens",
    "temperature_milli",
    "top_p_milli",
    "repetition_penalty_milli",
    "seed",
    "stop",
)
# Idle this long, the engine overwrites what it holds of the last answer.
_SCRUB_AFTER_SECONDS: Final = 1.0
_WARM_UP_TOKENS: Final = 8


@dataclass(eq=False, kw_only=True)
class _Answer:
    number: int
    task: GenerationTask
    prompt: list[int] = field(repr=False)
    limit: int
    text: ReleasedText
    randomness: random.Random
    tokens: list[int] = field(default_factory=list, repr=False)


class LegacyServer:
    """Serves one loaded model over the pipes."""

    def __init__(self, pipes: DaemonPipes, model: LegacyModel, template: str) -> None:
        self._pipes = pipes
        self._model = model
        self._template = ChatTemplate(template or PLAIN_TEMPLATE)
        self._stop = [] if template else [PLAIN_STOP]
        self._waiting: deque[_Answer] = deque()
        self._answer: _Answer | None = None
        # Places in the library's cache that hold something of an answer.
        self._used = 0
        self._scrubbing = False
        # Whoever started the host may have made it nice already.
        self._least_nice = niceness()

    def ready(self) -> Ready:
        """Generate a little and say how fast it went."""
        token = next(iter(self._model.tokenize("a", control=False)), 0)
        self._model.begin()
        self._model.evaluate([token])
        started = time.perf_counter()
        count = min(_WARM_UP_TOKENS, self._model.context_tokens - 1)
        for _ in range(count):
            self._model.evaluate([token])
        seconds = max(time.perf_counter() - started, 1e-6)
        return Ready(
            slots=1,
            context_tokens=self._model.context_tokens,
            tokens_per_second_milli=int(count / seconds * 1000),
        )

    def serve(self) -> None:
        """Take messages and step until the daemon closes its end."""
        while self._take_messages():
            if self._answer is None and self._waiting:
                self._answer = self._waiting.popleft()
                self._model.begin()
            if self._answer is not None:
                self._step(self._answer)
            elif self._scrubbing:
                self._scrub()
            self._pipes.send_alive()

    def _take_messages(self) -> bool:
        """Act on every message that is there; wait for one while idle. False at the end."""
        while True:
            idle = self._answer is None and not self._waiting
            try:
                message = self._pipes.inbox.get(
                    block=idle and not self._scrubbing,
                    timeout=_SCRUB_AFTER_SECONDS if self._used else None,
                )
            except queue.Empty:
                if idle and not self._scrubbing:
                    self._model.begin()
                self._scrubbing = idle
                return True
            match message:
                case None:
                    return False
                case Submit():
                    self._begin(message.number, message.task)
                case Score():
                    self._refuse(
                        message.number, "legacy models give no scores: nobody can check them"
                    )
                case Cancel():
                    self._cancel(message.number)
                case Tune():
                    self._model.threads = message.threads
                    nice = be_nice(max(message.nice, self._least_nice))
                    self._pipes.send(Tuned(threads=message.threads, nice=nice))
                case Load():
                    raise EngineProtocolError("an engine loads one model only")

    def _begin(self, number: int, task: GenerationTask) -> None:
        self._scrubbing = False
        try:
            _refuse_unsupported(task)
            prompt = self._prompt(task)
        except PromptError as refusal:
            self._pipes.send(Refused(number=number, reason=refusal.reason, sentence=str(refusal)))
            return
        self._waiting.append(
            _Answer(
                number=number,
                task=task,
                prompt=prompt,
                limit=min(task.max_tokens, self._model.context_tokens - len(prompt)),
                text=ReleasedText([*task.stop, *self._stop]),
                randomness=random.Random(task.seed),  # noqa: S311 - sampling, no secret
            )
        )
        self._pipes.send(Started(number=number, prompt_tokens=len(prompt)))

    def _prompt(self, task: GenerationTask) -> list[int]:
        turns = [ChatTurn(turn.role, turn.content) for turn in task.turns]
        prompt = list(self._template.prompt(turns, task.assistant_prefix, self._model).tokens)
        if len(prompt) >= self._model.context_tokens:
            raise PromptError(
                "context_exceeded",
                f"the prompt has {len(prompt)} tokens and the answer needs 1, "
                f"the context holds {self._model.context_tokens} tokens",
            )
        return prompt

    def _refuse(self, number: int, sentence: str) -> None:
        self._pipes.send(Refused(number=number, reason="bad_task", sentence=sentence))

    def _cancel(self, number: int) -> None:
        if self._answer is not None and self._answer.number == number:
            self._answer = None
        for answer in [one for one in self._waiting if one.number == number]:
            self._waiting.remove(answer)

    def _step(self, answer: _Answer) -> None:
        """A piece of the prompt, or one token: no cancellation waits for longer."""
        script = answer.prompt + answer.tokens
        self._model.evaluate(script[self._model.held : self._model.held + PIECE_TOKENS])
        self._used = max(self._used, self._model.held)
        if self._model.held == len(script):
            self._draw(answer)

    def _draw(self, answer: _Answer) -> None:
        task = answer.task
        token = self._model.draw(
            answer.tokens,
            temperature=task.temperature_milli / 1000,
            top_p=task.top_p_milli / 1000,
            repetition_penalty=task.repetition_penalty_milli / 1000,
            seed=answer.randomness.getrandbits(31),
        )
        if self._model.is_end(token):
            self._finish(answer, [], answer.text.finish(), "stop")
            return
        answer.tokens.append(token)
        text = answer.text.push(self._model.piece(token))
        if answer.text.stopped:
            self._finish(answer, [token], text, "stop")
        elif len(answer.tokens) >= answer.limit:
            self._finish(answer, [token], text + answer.text.finish(), "length")
        else:
            self._pipes.send(Tokens(number=answer.number, tokens=[token], text=text))

    def _finish(self, answer: _Answer, tokens: list[int], text: str, finish: str) -> None:
        self._answer = None
        if tokens or text:
            self._pipes.send(Tokens(number=answer.number, tokens=tokens, text=text))
        self._pipes.send(
            Finished(number=answer.number, finish="stop" if finish == "stop" else "length")
        )

    def _scrub(self) -> None:
        """Overwrite a piece of what the last answers left in the library's cache.

        The library cannot clear it, so one token is computed over all their places.
        """
        left = min(PIECE_TOKENS, self._used - self._model.held)
        self._model.evaluate([0] * left)
        if self._model.held == self._used:
            self._used, self._scrubbing = 0, False


def _refuse_unsupported(task: GenerationTask) -> None:
    plain = GenerationTask(**{name: getattr(task, name) for name in _SUPPORTED})
    unsupported = [
        name for name in task.__struct_fields__ if getattr(task, name) != getattr(plain, name)
    ]
    if unsupported:
        names = ", ".join(name.removesuffix("_milli").replace("_", " ") for name in unsupported)
        raise PromptError("bad_task", f"legacy models cannot do this: {names}")


def load_and_serve(pipes: DaemonPipes) -> None:
    """The life of the process: load what the first message names, then serve."""
    load = pipes.inbox.get()
    if load is None:
        return
    if not isinstance(load, Load) or load.legacy is None:
        raise EngineProtocolError("the first message must be to load a legacy model")
    path = Path(load.path)
    try:
        model = _load(load, load.legacy, path)
        server = LegacyServer(pipes, model, load.legacy.chat_template)
    except ModelError as error:
        pipes.send(LoadFailed(reason=error.reason, sentence=str(error)))
        return
    except MemoryError:
        pipes.send(LoadFailed(reason="no_memory", sentence=f"no memory left to load {path}"))
        return
    pipes.send(server.ready())
    server.serve()


def _load(load: Load, legacy: LegacyFormat, path: Path) -> LegacyModel:
    shape = check_model(path, load.digest, DigestCache(Path(load.digest_cache)), legacy)
    context_tokens = min(load.context_tokens, usable_context(shape))
    if context_tokens < 2:
        raise ModelError(
            "unloadable", f"{path} is too wide a model for ctransformers, which computes in 256 MB"
        )
    refuse_too_little_memory(
        predict_legacy_memory(shape, context_tokens=context_tokens),
        available=psutil.virtual_memory().available,
        cap=load.memory_cap_bytes,
    )
    return LegacyModel(
        path, legacy.architecture, context_tokens=context_tokens, threads=load.threads
    )


if __name__ == "__main__":
    run_engine(load_and_serve)
