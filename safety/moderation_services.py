"""Azure AI Content Safety and OpenAI's moderation endpoint as stronger judges.

Both are third parties: what they are sent leaves the house.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec

from peerllm.safety.judge import OVERALL
from peerllm.safety.judge_http import JudgeEndpoint, encoded, parsed
from peerllm.safety.stronger_judges import JudgeFailure, Role, pieces_of, strictest

# The service takes 10,000 code points in a request.
AZURE_CHARACTERS: Final = 10_000
OPENAI_CHARACTERS: Final = 16_000

# Azure's own filters stop at severity 4 ("medium") unless told otherwise: 4 lies above, 2 below the
# thresholds of the first standard, those of answers included.
AZURE_SCORES: Final = {0: 0.0, 2: 0.4, 4: 0.8, 6: 1.0}
AZURE_CATEGORIES: Final = {
    "Hate": "hate",
    "SelfHarm": "self_harm",
    "Sexual": "sexual",
    "Violence": "violence",
}

# Where the service itself calls a category flagged, at whatever score, it counts like Azure's 4.
OPENAI_FLAGGED_SCORE: Final = 0.8
OPENAI_CATEGORIES: Final = {
    "harassment": "harassment",
    "harassment/threatening": "harassment",
    "hate": "hate",
    "hate/threatening": "hate",
    "illicit": "illicit",
    "illicit/violent": "weapons",
    "self-harm": "self_harm",
    "self-harm/instructions": "self_harm",
    "self-harm/intent": "self_harm",
    "sexual": "sexual",
    "sexual/minors": "minors",
    "violence": "violence",
    "violence/graphic": "violence",
}

Scores = Mapping[str, float]
_Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _AzureCategory(msgspec.Struct, frozen=True):
    category: Annotated[str, msgspec.Meta(max_length=64)]
    severity: Annotated[int, msgspec.Meta(ge=0, le=7)]


class _AzureReply(msgspec.Struct, frozen=True, rename="camel"):
    categories_analysis: Annotated[list[_AzureCategory], msgspec.Meta(max_length=64)]


class _OpenAiResult(msgspec.Struct, frozen=True):
    categories: Annotated[dict[str, bool | None], msgspec.Meta(max_length=64)]
    category_scores: Annotated[dict[str, _Probability | None], msgspec.Meta(max_length=64)]


class _OpenAiReply(msgspec.Struct, frozen=True):
    results: Annotated[list[_OpenAiResult], msgspec.Meta(min_length=1, max_length=1)]


def read_azure(raw: bytes) -> dict[str, float] | JudgeFailure:
    """The scores in an answer of `text:analyze`; one that leaves out a category is malformed."""
    reply = parsed(raw, _AzureReply)
    if isinstance(reply, JudgeFailure):
        return reply
    found: dict[str, int] = {}
    for one in reply.categories_analysis:
        found[one.category] = max(found.get(one.category, 0), one.severity)
    if not AZURE_CATEGORIES.keys() <= found.keys():
        return JudgeFailure(kind="malformed")
    # An odd severity, which four levels do not have, counts as the next even one.
    scores = {
        ours: AZURE_SCORES[min(6, found[theirs] + found[theirs] % 2)]
        for theirs, ours in AZURE_CATEGORIES.items()
    }
    return scores | {OVERALL: max(scores.values())}


def read_openai(raw: bytes) -> dict[str, float] | JudgeFailure:
    """The scores in an answer of the moderation endpoint; a missing category is malformed."""
    reply = parsed(raw, _OpenAiReply)
    if isinstance(reply, JudgeFailure):
        return reply
    (result,) = reply.results
    scores: dict[str, float] = {}
    for theirs, ours in OPENAI_CATEGORIES.items():
        score = result.category_scores.get(theirs)
        if score is None:
            return JudgeFailure(kind="malformed")
        if result.categories.get(theirs):
            score = max(score, OPENAI_FLAGGED_SCORE)
        scores[ours] = max(scores.get(ours, 0.0), score)
    return scores | {OVERALL: max(scores.values())}


class AzureJudge:
    """Azure AI Content Safety, `text:analyze` of 2024-09-01 with four severity levels."""

    name = "azure"
    categories = frozenset(AZURE_CATEGORIES.values())

    def __init__(self, endpoint: JudgeEndpoint) -> None:
        self._endpoint = endpoint

    async def scores(self, text: str, _role: Role, /) -> Scores | JudgeFailure:
        """One request for every 10,000 characters."""
        return await _ask(
            self._endpoint,
            "/contentsafety/text:analyze?api-version=2024-09-01",
            pieces_of(text, AZURE_CHARACTERS),
            lambda piece: {
                "text": piece,
                "categories": list(AZURE_CATEGORIES),
                "outputType": "FourSeverityLevels",
            },
            read_azure,
        )


class OpenAiJudge:
    """OpenAI's moderation endpoint."""

    name = "openai"
    categories = frozenset(OPENAI_CATEGORIES.values())

    def __init__(self, endpoint: JudgeEndpoint, model: str) -> None:
        self._endpoint = endpoint
        self._model = model

    async def scores(self, text: str, _role: Role, /) -> Scores | JudgeFailure:
        """One request for every 16,000 characters."""
        return await _ask(
            self._endpoint,
            "/v1/moderations",
            pieces_of(text, OPENAI_CHARACTERS),
            lambda piece: {"model": self._model, "input": piece},
            read_openai,
        )


async def _ask(
    endpoint: JudgeEndpoint,
    path: str,
    pieces: list[str] | JudgeFailure,
    question: Callable[[str], object],
    read: Callable[[bytes], dict[str, float] | JudgeFailure],
) -> Scores | JudgeFailure:
    if isinstance(pieces, JudgeFailure):
        return pieces
    found = []
    for piece in pieces:
        raw = await endpoint.post(path, encoded(question(piece)))
        scores = raw if isinstance(raw, JudgeFailure) else read(raw)
        if isinstance(scores, JudgeFailure):
            return scores
        found.append(scores)
    return strictest(found)
