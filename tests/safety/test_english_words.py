from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.english_words import is_word, parted, unscrambled


def test_words_that_run_into_one_another_are_parted_where_all_of_them_are_known() -> None:
    assert parted("iwanttobakebread") == "i want to bake bread"
    assert parted("wiebaueicheinhaus") == "wiebaueicheinhaus"
    assert parted("judgement") == "judgement"
    assert parted("a" * 100_000) == "a" * 100_000


@given(st.text(alphabet="abeiost", max_size=60))
def test_parting_keeps_every_letter(letters: str) -> None:
    assert parted(letters).replace(" ", "") == letters


def test_short_letters_are_words_only_if_people_use_them() -> None:
    words = ["a", "at", "be", "fr", "x", "bread"]
    assert [word for word in words if is_word(word)] == ["a", "at", "be", "bread"]


def test_letters_in_disorder_make_the_word_they_most_resemble() -> None:
    words = ["tutroial", "hmoe", "soup", "xyzzy", ""]
    assert list(map(unscrambled, words)) == ["tutorial", "home", "soup", "xyzzy", ""]
