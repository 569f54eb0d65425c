from pathlib import Path

import pytest

from peerllm.overlay.answer_shape import AnswerShape, Constants, Field, Record, Text
from peerllm.peer import tried_grammars
from peerllm.peer.models import embedded_model_path
from peerllm.peer.tried_grammars import TriedGrammars

PERSON = AnswerShape(
    nodes=[Record(fields=[Field(name="SECRET", node=1, required=True)]), Text(maximum=5)]
)
OTHER = AnswerShape(nodes=[Constants(strings=["a"])])


async def test_a_grammar_is_tried_once_and_the_latest_are_remembered(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.symlink_to(embedded_model_path())
    tried = TriedGrammars(model, remembered=1)
    assert not tried.passed(PERSON)
    assert await tried.fault(PERSON) is None
    assert tried.passed(PERSON)
    # Nothing is tried that is remembered: without the model it would fail.
    model.unlink()
    assert await tried.fault(PERSON) is None
    assert "cannot be compiled" in str(await tried.fault(OTHER))
    assert not tried.passed(OTHER)
    assert not tried.passed(PERSON)
    assert "SECRET" not in repr(tried)


async def test_what_is_remembered_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[AnswerShape] = []

    def count(shape: AnswerShape) -> None:
        judged.append(shape)

    monkeypatch.setattr(tried_grammars, "fault_of", count)
    tried = TriedGrammars(embedded_model_path())
    for _ in range(3):
        assert await tried.fault(PERSON) is None
        assert tried.passed(PERSON)
    assert judged == [PERSON]


async def test_a_form_with_a_fault_starts_no_process() -> None:
    tried = TriedGrammars(Path("/nowhere"))
    fault = await tried.fault(AnswerShape(nodes=[Text(minimum=2, maximum=1)]))
    assert "below its minimum" in str(fault)
    assert not tried.passed(AnswerShape(nodes=[Constants()]))


@pytest.mark.parametrize(
    "grammar",
    ["root ::= (", "root ::= " + "(" * 100_000 + '"a"' + ")" * 100_000, "x" * 2**20],
    ids=["malformed", "overflows the stack", "too long"],
)
async def test_what_kills_or_fails_its_trial_is_refused(
    grammar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tried_grammars, "grammar_of", lambda _shape: grammar)
    tried = TriedGrammars(embedded_model_path())
    assert "cannot be compiled" in str(await tried.fault(PERSON))
    assert not tried.passed(PERSON)


async def test_a_trial_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Shorter than any process takes to start.
    monkeypatch.setattr(tried_grammars, "_TRIAL_SECONDS", 0.001)
    tried = TriedGrammars(embedded_model_path())
    assert "not tried within" in str(await tried.fault(PERSON))
    monkeypatch.undo()
    assert await tried.fault(PERSON) is None
