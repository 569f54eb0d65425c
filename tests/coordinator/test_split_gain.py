from hypothesis import given
from hypothesis import strategies as st

from peerllm.coordinator.split_gain import LEAST_GAIN, Work, pays, written_for

WHOLE = Work(3_000, 300)
PART = Work(600, 60)


def test_a_chunk_takes_its_reading_and_its_writing() -> None:
    assert WHOLE.seconds == 3_000 / 150 + 300 / 80


def test_five_parts_pay_for_two_hosts_and_not_for_one() -> None:
    assert not pays(WHOLE, [[PART] * 5], 1)
    assert pays(WHOLE, [[PART] * 5], 2)


def test_what_is_made_of_the_parts_is_counted() -> None:
    assert pays(WHOLE, [[PART] * 5, [PART]], 5)
    assert not pays(WHOLE, [[PART] * 5, [WHOLE]], 5)


def test_how_much_is_written_depends_on_what_is_asked() -> None:
    assert written_for("rewrite", 500, note=False) == 500
    assert written_for("extract", 500, note=False) == 50
    assert written_for("summarise", 500, note=True) < written_for("summarise", 500, note=False)


@given(
    st.lists(st.builds(Work, st.integers(1, 9_000), st.integers(0, 900)), min_size=1, max_size=96),
    st.integers(0, 100),
)
def test_more_hosts_never_speak_against_cutting(parts: list[Work], at_once: int) -> None:
    whole = Work(sum(part.read for part in parts), sum(part.written for part in parts))
    if pays(whole, [parts], at_once):
        assert pays(whole, [parts], at_once + 1)
    assert LEAST_GAIN > 1
    assert not pays(whole, [parts], 1)
