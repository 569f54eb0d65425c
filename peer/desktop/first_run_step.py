"""What every step of the first run has."""

from PySide6.QtWidgets import QVBoxLayout

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.widgets import label


class Step:
    """One step, in a layout of its own."""

    def __init__(self, desk: Desk, body: QVBoxLayout) -> None:
        self.desk = desk
        self.body = body

    def arrive(self) -> None:
        """It is shown now."""

    def fault(self) -> str:
        """Why it cannot be left for the next one; empty when it can."""
        return ""

    def say(self, text: str) -> None:
        """Something to read."""
        self.body.addWidget(label(text, "muted"))
