import pytest

from peerllm.safety.judge import Judge, SafetyThresholds
from peerllm.safety.readable import readable


@pytest.mark.parametrize(
    "text",
    [
        "",
        "How do I bake sourdough bread at home?",
        "Please write to Grzegorz Brzęczyszczykiewicz in Łódź about the Überweisung.",
        "def total(items): return sum(item.price for item in items)  # adds the prices up",
        "What does the German word Schadenfreude mean in English?",
        "Привет is the Russian word for hello.",
        "x = y + z",
    ],
)
def test_english_with_names_code_and_foreign_words_is_read(text: str) -> None:
    assert readable(text)


@pytest.mark.parametrize(
    "text",
    [
        "Wie baue ich ein Regal für meine Bücher?",
        "Comment puis-je fabriquer une étagère pour mes livres ?",
        "¿Cómo puedo construir una estantería para mis libros?",
        "Как построить книжную полку дома?",
        "我想知道如何在家里做一个书架",
        "كيف أصنع رفا للكتب في المنزل",
        "Give this a title. " * 30 + "Wie baue ich ein Regal für meine vielen alten Bücher " * 3,
    ],
)
def test_other_languages_are_not(text: str) -> None:
    assert not readable(text)


class Calm:
    """A gate that finds nothing in anything."""

    def scores(self, _text: str, /) -> dict[str, float]:
        return {"violence": 0.01}


def test_what_is_hardly_read_is_uncertain_where_the_standard_knows_uncertainty() -> None:
    banded = SafetyThresholds(1, {"violence": 500}, {"violence": (400, 850)})
    verdict = Judge(banded, [Calm()]).judge("Wie baue ich ein Regal für meine Bücher?")
    assert verdict.allowed
    assert verdict.uncertain
    assert verdict.near == frozenset()
    assert not Judge(banded, [Calm()]).judge("How do I build a shelf for my books?").uncertain
    plain = SafetyThresholds(1, {"violence": 500})
    assert not Judge(plain, [Calm()]).judge("Wie baue ich ein Regal für Bücher?").uncertain
