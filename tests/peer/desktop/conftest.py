"""The window without a screen: Qt's offscreen platform, the real widgets."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

# Before Qt is loaded. Whoever wants to watch sets another platform, xcb for one.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

WAIT_SECONDS = 20


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep how the tests ended for the last hook."""
    session.config.stash[ENDED] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process as it stands once all has been reported.

    Python takes the objects of Qt down in no order when it ends, which Qt may not survive; what is
    tested has ended by then. A window that is used ends in `peerllm.peer.desktop.application`.
    """
    if "PySide6.QtWidgets" in sys.modules and ENDED in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[ENDED])


ENDED = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def application() -> Any:
    widgets = pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    return widgets.QApplication.instance() or widgets.QApplication(["peerllm"])


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
