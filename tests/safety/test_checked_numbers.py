import pytest

from peerllm.safety.checked_numbers import detect_checked_numbers
from peerllm.safety.identifiers import find_identifiers, never_left

NUMBERS = [
    "11010519491231002X",
    "12345678Z",
    "X1234567L",
    "X-1234567-L",
    "255081416802538",
    "2 55 08 14 168 025 38",
    "811218-9876",
    "19811218-9876",
    "131052-308T",
]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_with_right_check_digits_needs_no_word_beside_it(number: str) -> None:
    text = f"Is {number} in the list?"
    (found,) = detect_checked_numbers(text)

    assert text[found.start : found.end] == number
    for masked in (find_identifiers(text), never_left(text)):
        assert any(one.start <= found.start and found.end <= one.end for one in masked)


@pytest.mark.parametrize("number", NUMBERS)
def test_with_a_wrong_check_digit_or_more_behind_it_it_is_another_number(number: str) -> None:
    last = number[-1]
    wrong = number[:-1] + ("A" if last != "A" and last.isalpha() else str((int(last, 36) + 1) % 10))

    assert not list(detect_checked_numbers(f"Is {wrong} in the list?"))
    assert not list(detect_checked_numbers(f"Is {number}7 in the list?"))


def test_it_is_found_among_chinese_letters() -> None:
    text = "身份证11010519491231002X已登记"

    assert any("11010519491231002X" in text[one.start : one.end] for one in find_identifiers(text))
