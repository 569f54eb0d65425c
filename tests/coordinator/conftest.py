import sys
from pathlib import Path

import pytest
from trio.testing import MockClock

# Lets the tests of this room import the hosts and houses they share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while a thread is writing to the database."""
    return MockClock(autojump_threshold=0.1)
