"""A payout's proof, checked against what the public log says: with files alone, offline."""

import re
from collections.abc import Callable
from typing import Final

from PySide6.QtWidgets import QFileDialog, QLineEdit

from peerllm.peer.desktop.errand import Errand
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Card, button, label, row, say

_ROOT: Final = re.compile(r"[0-9a-fA-F]{64}")


def proof_arguments(proof: str, published: str) -> list[str] | None:
    """The command that checks a proof against a root or a log's entry; None without both."""
    if not proof.strip() or not published.strip():
        return None
    found = published.strip()
    against = f"--root={found.lower()}" if _ROOT.fullmatch(found) else f"--entry={found}"
    return ["ledger", "prove", f"--check={proof.strip()}", against]


class PayoutCard(Card):
    """What a coordinator paid, and whether it published that."""

    def __init__(self) -> None:
        super().__init__(
            tr("Activity", "Payouts"),
            tr(
                "Activity",
                "A payout comes with a proof that it is part of a batch in the network's public "
                "log. Checking it takes no network and nobody's word.",
            ),
        )
        self._payouts = label("", "body")
        self._payouts.hide()
        self.body.addWidget(self._payouts)
        # Whose payout it should be; empty until the host has said who it is.
        self.host = ""
        self.proof = QLineEdit()
        self.proof.setPlaceholderText("proof.json")
        self.published = QLineEdit()
        self.published.setPlaceholderText(tr("Activity", "64 hexadecimal digits, or a file"))
        for name, edit in (
            (tr("Activity", "Proof, as the coordinator gave it to you"), self.proof),
            (tr("Activity", "The batch's root or entry, out of the public log"), self.published),
        ):
            choose = button(tr("Activity", "Choose …"), "plain", self._chooser(edit))
            choose.setAccessibleName(f"{name}: {choose.text()}")
            edit.setAccessibleName(name)
            self.body.addWidget(label(name))
            self.body.addLayout(row(edit, choose))
        self.verify_button = button(tr("Activity", "Verify payout"), "plain", self.verify)
        self.result = label("", "muted")
        self.result.hide()
        self.body.addLayout(row(self.verify_button, None))
        self.body.addWidget(self.result)

    def show_payouts(self, lines: list[str]) -> None:
        """What the coordinator says it has paid."""
        say(self._payouts, "\n".join(lines))

    def verify(self) -> None:
        """Check what was chosen."""
        arguments = proof_arguments(self.proof.text(), self.published.text())
        if arguments is None:
            both = tr("Activity", "Choose the proof, and what it is to be checked against.")
            say(self.result, both, "waiting")
            return
        errand = Errand(arguments, self)

        def on_end(well: bool, word: str) -> None:
            self.verify_button.setEnabled(True)
            if well and self.host and self.host not in errand.output:
                other = tr("Activity", "True, but it is the payout of another host: {proof}")
                say(self.result, other.format(proof=errand.output), "waiting")
            else:
                say(self.result, errand.output if well else word, "good" if well else "problem")
            errand.deleteLater()

        errand.ended.connect(on_end)
        self.verify_button.setEnabled(False)
        errand.start()

    def _chooser(self, edit: QLineEdit) -> Callable[[], None]:
        def choose() -> None:
            title = tr("Activity", "Choose a file")
            path, _ = QFileDialog.getOpenFileName(self.window(), title, "", "JSON (*.json)")
            if path:
                edit.setText(path)

        return choose
