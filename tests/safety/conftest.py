import pytest
from trio.testing import MockClock


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps when nothing happens any more, but not while bytes are on their way."""
    return MockClock(autojump_threshold=0.05)
