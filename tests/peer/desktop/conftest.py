"""The window without a screen: Qt's offscreen platform, the real widgets."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# Before Qt is loaded. Whoever wants to watch sets another platform, xcb for one.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

WAIT_SECONDS = 20


@pytest.fixture(scope="session")
def application() -> Iterator[Any]:
    widgets = pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    import shiboken6  # noqa: PLC0415 - as the above

    found = widgets.QApplication(["peerllm"])
    yield found
    # As the window that is used does: Python takes Qt's objects down in no order.
    for window in [one for one in found.topLevelWidgets() if one.parent() is None]:
        if shiboken6.isValid(window):
            shiboken6.delete(window)
    found.shutdown()


@pytest.fixture
def until(application: Any) -> Callable[..., None]:
    """Let Qt work until something is so."""

    def wait(is_so: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_so():
            application.processEvents()
            assert time.monotonic() < deadline, f"never came: {what}"
            # Qt has no wait with a bound that also ends at any event.
            time.sleep(0.005)

    return wait
