from pathlib import Path
from typing import get_args

from peerllm.coordinator.events import CoordinatorEvent

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_operators_are_told_of_every_event() -> None:
    told = OPERATIONS.read_text()
    assert [event for event in get_args(CoordinatorEvent) if f"`{event}`" not in told] == []
