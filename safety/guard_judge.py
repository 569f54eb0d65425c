"""A guard model as a stronger judge, reached at llama.cpp's server on the operator's machine.

No guard model was at hand when this was written: the exchange was tried with another model, whose
opinions mean nothing.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Protocol

import msgspec

from peerllm.safety.guard_prompts import Calibration, GuardFormat, GuardQuestion, GuardReply
from peerllm.safety.judge_http import JudgeEndpoint, encoded, parsed
from peerllm.safety.stronger_judges import JudgeFailure, Role, pieces_of, strictest

# Both words are among a guard model's first few; the tail only has to show that they are not.
CANDIDATES: Final = 20
# ShieldGemma's context is 8,192 tokens; a character of another script than Latin may be one token.
GUARD_CHARACTERS: Final = 6_000


class GuardEngine(Protocol):
    """Whatever completes a guard's prompt and tells the candidates' probabilities."""

    async def complete(self, question: GuardQuestion, /) -> GuardReply | JudgeFailure:
        """The greedy completion."""
        ...


class GuardJudge:
    """A guard model behind an engine."""

    name = "guard"

    def __init__(
        self, engine: GuardEngine, guard_format: GuardFormat, calibration: Calibration
    ) -> None:
        self._engine = engine
        self._format = guard_format
        self._calibration = calibration

    @property
    def categories(self) -> frozenset[str]:
        """What its format can tell."""
        return self._format.categories

    async def scores(self, text: str, role: Role, /) -> Mapping[str, float] | JudgeFailure:
        """One question, or one for each principle, for every 6,000 characters."""
        pieces = pieces_of(text, GUARD_CHARACTERS)
        if isinstance(pieces, JudgeFailure):
            return pieces
        found = []
        for piece in pieces:
            replies = []
            for question in self._format.questions(piece, role):
                reply = await self._engine.complete(question)
                if isinstance(reply, JudgeFailure):
                    return reply
                replies.append(reply)
            scores = self._format.read(replies, self._calibration)
            if isinstance(scores, JudgeFailure):
                return scores
            found.append(scores)
        return strictest(found)


class LlamaServer:
    """The `/completion` endpoint of llama.cpp's server."""

    def __init__(self, endpoint: JudgeEndpoint) -> None:
        self._endpoint = endpoint

    async def complete(self, question: GuardQuestion, /) -> GuardReply | JudgeFailure:
        """One request; the server adds the model's own first token."""
        body = encoded(
            {
                "prompt": question.prompt,
                "n_predict": question.tokens,
                "n_probs": CANDIDATES,
                "temperature": 0,
                "cache_prompt": True,
                "stream": False,
            }
        )
        raw = await self._endpoint.post("/completion", body)
        return raw if isinstance(raw, JudgeFailure) else read_completion(raw)


class _Candidate(msgspec.Struct, frozen=True):
    token: Annotated[str, msgspec.Meta(max_length=512)]
    logprob: float


class _Position(msgspec.Struct, frozen=True):
    top_logprobs: Annotated[list[_Candidate], msgspec.Meta(max_length=1_024)]


class _Completion(msgspec.Struct, frozen=True):
    content: Annotated[str, msgspec.Meta(max_length=16_384)]
    completion_probabilities: Annotated[list[_Position], msgspec.Meta(max_length=256)]
    truncated: bool = False


def read_completion(raw: bytes) -> GuardReply | JudgeFailure:
    """What llama.cpp's server answered; a prompt that it cut is no opinion on the whole text."""
    reply = parsed(raw, _Completion)
    if isinstance(reply, JudgeFailure):
        return reply
    if reply.truncated:
        return JudgeFailure(kind="too_long")
    return GuardReply(
        text=reply.content,
        candidates=[
            {one.token: one.logprob for one in position.top_logprobs}
            for position in reply.completion_probabilities
        ],
    )
