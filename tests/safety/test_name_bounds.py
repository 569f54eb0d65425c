import pytest

from peerllm.safety.identifiers import Identifier
from peerllm.safety.name_bounds import whole_name


def whole(text: str, found: str, kind: str = "PERSON") -> str:
    start = text.index(found)
    name = whole_name(text, Identifier(start, start + len(found), kind, 0.5))
    assert (name.kind, name.score) == (kind, 0.5)
    return text[name.start : name.end]


@pytest.mark.parametrize(
    ("text", "found", "kind", "name"),
    [
        ("I pay Time Warner Cable too much", "Cable", "ORGANIZATION", "Time Warner Cable"),
        ("shares of Gabriel Resources rise", "Gabriel", "ORGANIZATION", "Gabriel Resources"),
        ("The Wolves to host them", "Wolves", "ORGANIZATION", "The Wolves"),
        ("write to dr. Gomez today", "Gomez", "PERSON", "dr. Gomez"),
        ("by Leonardo da Vinci himself", "Leonardo", "PERSON", "Leonardo da Vinci"),
        # What is not part of the name.
        ("Ask Maria whether she comes", "Maria", "PERSON", "Maria"),
        ("met Maria Monday at noon", "Maria", "PERSON", "Maria"),
        ("met Maria yesterday at noon", "Maria", "PERSON", "Maria"),
        ("Maria Wins Third Big Prize", "Maria", "PERSON", "Maria"),
        ("thanks @Some Maria for that", "Maria", "PERSON", "Maria"),
        ("met Maria PERSON_99 there", "Maria", "PERSON", "Maria"),
        ("in berlin Mitte we met", "berlin", "LOCATION", "berlin"),
        ("call 555 Maria", "555", "PHONE", "555"),
    ],
)
def test_a_name_is_taken_whole_and_no_further(text: str, found: str, kind: str, name: str) -> None:
    assert whole(text, found, kind) == name
