import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.look_alikes import latin, undressed, unstroked

SMALL_CAPITALS = str.maketrans(
    "abcdefghijklmnoprstuvwyz",
    "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f"
    "\u1d18\u0280\ua731\u1d1b\u1d1c\u1d20\u1d21\u028f\u1d22",
)


def from_letter(first: int) -> dict[int, int]:
    return {ord("A") + number: first + number for number in range(26)}


@pytest.mark.parametrize(
    "letters",
    [from_letter(0x1F170), from_letter(0x1F150), from_letter(0x1F130), from_letter(0x1F1E6)],
    ids=["boxes", "circles", "frames", "flags"],
)
def test_capitals_in_costume_are_small_letters(letters: dict[int, int]) -> None:
    assert undressed("BAKE A LOAF".translate(letters)) == "bake a loaf"


def test_small_capitals_are_small_letters() -> None:
    assert undressed("bake a loaf".translate(SMALL_CAPITALS)) == "bake a loaf"


def test_upside_down_letters_are_turned() -> None:
    assert undressed("\u0250 \u0279 \u028c") == "a r v"


@pytest.mark.parametrize(
    "text",
    [
        "\u0142\u00f3d\u017a \u00f8re \u00df \u0110\u1eb7ng",
        "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1",
        "\u0628\u064f",
        "\u30d1\u30f3 \u0915\u093f",
    ],
)
def test_letters_of_languages_are_no_costume(text: str) -> None:
    assert undressed(text) == text


@pytest.mark.parametrize(
    "strange",
    [
        "b\u0430k\u0435 \u0430 l\u043e\u0430f",  # Cyrillic
        "b\u03b1k\u03b5 \u03b1 l\u03bf\u03b1f",  # Greek
        "bake a l\u0585af",  # Armenian
        "\ua4d0AKE A LOAF",  # Lisu
        "\u13f4AKE A LOAF",  # Cherokee
    ],
)
def test_letters_of_other_scripts_are_read_as_those_they_look_like(strange: str) -> None:
    assert latin(strange).lower() == "bake a loaf"


def test_strokes_are_taken_off() -> None:
    assert unstroked("\u00d8re \u0142\u0105ka \u0127\u0167\u0180") == "Ore ląka htb".replace(
        "\u0105", "a"
    )


@given(st.text())
def test_no_letter_becomes_several(text: str) -> None:
    for change in (undressed, latin, unstroked):
        assert len(change(text)) == len(text)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_letters_stay(text: str) -> None:
    assert undressed(text) == latin(text) == unstroked(text) == text
