from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.tuning import Trial, choose_slots, hardware, thread_counts, tune

RATES = st.dictionaries(
    st.sampled_from([2, 4, 8, 16]), st.integers(0, 1_000_000), max_size=4
).flatmap(lambda rates: st.integers(1, 1_000_000).map(lambda one: {1: one, **rates}))


def test_slots_grow_while_answers_stay_fast_and_gain() -> None:
    assert choose_slots({1: 60_000, 2: 75_000, 4: 95_000, 8: 120_000}) == 8
    # Eight answers of 4.5 tokens/s each are slower than people read.
    assert choose_slots({1: 20_000, 2: 25_000, 4: 30_000, 8: 36_000}) == 4
    # Four bring nothing over two; eight would.
    assert choose_slots({1: 60_000, 2: 80_000, 4: 81_000}) == 2
    # Too slow even alone: one answer is what there is.
    assert choose_slots({1: 800, 2: 1500}) == 1


@given(RATES)
def test_no_choice_is_slower_than_one_answer(rates: dict[int, int]) -> None:
    slots = choose_slots(rates)
    assert slots in rates
    assert rates[slots] >= rates[1]
    assert slots == 1 or rates[slots] >= slots * 5_000


def test_the_fastest_trial_wins_and_of_equals_the_one_with_fewer_threads() -> None:
    one = Trial(1, 100, {1: 50_000, 2: 60_000})
    two = Trial(2, 180, {1: 40_000, 2: 60_000})
    three = Trial(3, 180, {1: 70_000, 2: 70_000})
    assert tune([two, one]).trial is one
    assert tune([one, two, three]).trial is three
    assert tune([one, two, three]).slots == 1
    assert tune([one, two, three], slots=2).slots == 2


def test_thread_counts_and_hardware_are_of_this_machine() -> None:
    assert thread_counts(8) == (4, 8)
    assert thread_counts(1) == (1,)
    assert "GiB" in hardware() == hardware()
