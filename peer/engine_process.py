"""The engine process: loads one model and generates until its input pipe closes.

Run as `python -m peerllm.peer.engine_process` by the daemon, which talks over standard
input and output. Everything else the process might print, the library's log and any
traceback, goes nowhere: it could quote a prompt.
"""

import queue
import time
from pathlib import Path
from typing import Final

import psutil

from peerllm.peer.batching import BatchingEngine
from peerllm.peer.chat import ChatTemplate, ChatTurn, plain_tokens
from peerllm.peer.engine_pipes import DaemonPipes, run_engine
from peerllm.peer.engine_protocol import (
    Cancel,
    EngineProtocolError,
    Finished,
    GenerationTask,
    Load,
    LoadFailed,
    Progress,
    Ready,
    Refused,
    Score,
    Scored,
    ScoreTask,
    Started,
    Submit,
    Tokens,
    Tune,
    Tuned,
)
from peerllm.peer.errors import ModelError, PromptError
from peerllm.peer.grammar import grammar_of
from peerllm.peer.llama import LlamaModel
from peerllm.peer.memory import predict_memory, refuse_too_little_memory
from peerllm.peer.models import DigestCache, check_model
from peerllm.peer.niceness import be_nice, niceness
from peerllm.peer.sampling import Sampling
from peerllm.peer.sequences import PREFILL_TOKENS, Outcome, Produced, Prompt

# Idle this long, the engine overwrites its caches. Not at once: a request that arrives
# right after another would wait for it.
_SCRUB_AFTER_SECONDS: Final = 1.0
# Enough tokens to measure speed, few enough to cost a fraction of a second.
_WARM_UP: Final = "Count to a hundred."
_WARM_UP_TOKENS: Final = 8


class EngineServer:
    """Serves one loaded model over the pipes."""

    def __init__(
        self, pipes: DaemonPipes, model: LlamaModel, template: ChatTemplate, load: Load
    ) -> None:
        self._pipes = pipes
        self._model = model
        self._template = template
        self._engine = BatchingEngine(
            model,
            slots=load.slots,
            # Beyond what it was trained on a model writes nonsense.
            context_tokens=min(load.context_tokens, model.trained_context_tokens),
            threads=load.threads,
        )
        self._scrubbed = True
        # Whoever started the host may have made it nice already.
        self._least_nice = niceness()

    def ready(self) -> Ready:
        """Generate a little and say how fast it went. Raises `ModelError` when it cannot."""
        try:
            # By the template, so that the model's own words before a conversation are kept.
            prompt = self._template.prompt([ChatTurn("user", _WARM_UP)], "", self._model)
            self._engine.submit(0, prompt, max_tokens=_WARM_UP_TOKENS, sampling=Sampling())
        except PromptError as error:
            raise ModelError(
                "no_chat_template", f"the model cannot be asked the simplest question: {error}"
            ) from None
        produced = 0
        started = time.perf_counter()
        while not self._engine.idle:
            produced += len(self._engine.step())
            if produced == 1:
                started = time.perf_counter()
        seconds = max(time.perf_counter() - started, 1e-6)
        self._engine.scrub()
        return Ready(
            slots=self._engine.slots,
            context_tokens=self._engine.context_tokens,
            # The first token came out of the prompt's own pass.
            tokens_per_second_milli=int(max(produced - 1, 0) / seconds * 1000),
        )

    def serve(self) -> None:
        """Take messages and step until the daemon closes its end."""
        while self._take_messages():
            for outcome in self._engine.step():
                self._report(outcome)
            self._pipes.send_alive()

    def _take_messages(self) -> bool:
        """Act on every message that is there; wait for one while idle. False at the end."""
        while True:
            try:
                message = self._pipes.inbox.get(
                    block=self._engine.idle,
                    timeout=None if self._scrubbed else _SCRUB_AFTER_SECONDS,
                )
            except queue.Empty:
                if not self._engine.idle:
                    return True
                self._engine.scrub()
                self._scrubbed = True
                continue
            match message:
                case None:
                    return False
                case Submit() | Score():
                    self._scrubbed = False
                    self._begin(message)
                case Cancel():
                    self._engine.cancel(message.number)
                case Tune():
                    self._engine.use_threads(message.threads)
                    nice = be_nice(max(message.nice, self._least_nice))
                    self._pipes.send(Tuned(threads=message.threads, nice=nice))
                case Load():
                    raise EngineProtocolError("an engine loads one model only")

    def _begin(self, message: Submit | Score) -> None:
        number, task = message.number, message.task
        try:
            if isinstance(task, ScoreTask):
                prompt_tokens = self._score(number, task)
            else:
                prompt_tokens = self._submit(number, task)
        except PromptError as refusal:
            self._pipes.send(Refused(number=number, reason=refusal.reason, sentence=str(refusal)))
        else:
            self._pipes.send(Started(number=number, prompt_tokens=prompt_tokens))

    def _submit(self, number: int, task: GenerationTask) -> int:
        prompt = self._prompt(task)
        self._engine.submit(
            number,
            prompt,
            max_tokens=task.max_tokens,
            sampling=self._sampling(task),
            stop=task.stop,
        )
        return len(prompt)

    def _score(self, number: int, claim: ScoreTask) -> int:
        prompt = self._prompt(claim.task)
        self._engine.score(
            number,
            prompt,
            claim.tokens,
            sampling=self._sampling(claim.task),
            ended=claim.ended,
        )
        return len(prompt)

    def _prompt(self, task: GenerationTask) -> Prompt:
        turns = [ChatTurn(turn.role, turn.content) for turn in task.turns]
        return self._template.prompt(turns, task.assistant_prefix, self._model)

    def _sampling(self, task: GenerationTask) -> Sampling:
        return Sampling(
            temperature=task.temperature_milli / 1000,
            top_p=task.top_p_milli / 1000,
            min_p=task.min_p_milli / 1000,
            frequency_penalty=task.frequency_penalty_milli / 1000,
            presence_penalty=task.presence_penalty_milli / 1000,
            repetition_penalty=task.repetition_penalty_milli / 1000,
            logit_bias=tuple((one.token, one.bias_milli / 1000) for one in task.logit_bias),
            seed=task.seed,
            # Tried by the daemon before it came here.
            grammar="" if task.answer_shape is None else grammar_of(task.answer_shape),
            begun=tuple(plain_tokens(task.assistant_prefix, self._model)),
        )

    def _report(self, outcome: Outcome) -> None:
        number = outcome.identifier
        if not isinstance(outcome, Produced):
            self._pipes.send(
                Scored(
                    number=number,
                    would_draw=list(outcome.would_draw),
                    margins=list(outcome.margins),
                )
            )
            return
        if outcome.tokens or outcome.text:
            self._pipes.send(Tokens(number=number, tokens=list(outcome.tokens), text=outcome.text))
        if outcome.finish:
            self._pipes.send(Finished(number=number, finish=outcome.finish))


def load_and_serve(pipes: DaemonPipes) -> None:
    """The life of the process: load what the first message names, then serve."""
    load = pipes.inbox.get()
    if load is None:
        return
    if not isinstance(load, Load):
        raise EngineProtocolError("the first message to an engine must be load")
    path = Path(load.path)
    try:
        shape = check_model(path, load.digest, DigestCache(Path(load.digest_cache)))
        refuse_too_little_memory(
            predict_memory(
                shape,
                slots=load.slots,
                context_tokens=min(load.context_tokens, shape.trained_context_tokens),
                batch_tokens=max(PREFILL_TOKENS, load.slots),
            ),
            available=psutil.virtual_memory().available,
            cap=load.memory_cap_bytes,
        )
        model = LlamaModel(path, lambda percent: pipes.send(Progress(percent=percent)))
        server = EngineServer(pipes, model, ChatTemplate(model.chat_template), load)
        ready = server.ready()
    except ModelError as error:
        pipes.send(LoadFailed(reason=error.reason, sentence=str(error)))
        return
    except MemoryError:
        pipes.send(LoadFailed(reason="no_memory", sentence=f"no memory left to load {path}"))
        return
    pipes.send(ready)
    server.serve()


if __name__ == "__main__":
    run_engine(load_and_serve)
