"""Activity: the receipts this host signed, and whether they are what they say."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from peerllm.peer.desktop.account_view import payout_lines
from peerllm.peer.desktop.activity_view import ReceiptRow, receipt_rows, verdict
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.payout_card import PayoutCard
from peerllm.peer.desktop.presentation import grouped
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Card, Page, Role, button, label, row, say
from peerllm.peer.receipt_book import Receipts


class ActivityPage(Page):
    """Numbers only: what was asked and answered is kept nowhere."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            tr("Activity", "Activity"),
            tr(
                "Activity",
                "Each answer leaves a signed receipt: how much, when, for whom. What people asked "
                "and what was answered is kept nowhere, so it is not here either.",
            ),
        )
        self._desk = desk
        self._rows: list[ReceiptRow] = []
        self._shown: tuple[Receipts, str] | None = None
        card = Card(
            tr("Activity", "Receipts"),
            tr(
                "Activity",
                "In tokens. Not needed: another host of the race was faster, and this one was "
                "stopped.",
            ),
        )
        self.table = QTableWidget(0, 6)
        self.table.setAccessibleName(tr("Activity", "Receipts, newest first"))
        self.table.setHorizontalHeaderLabels(
            [
                tr("Activity", "Signed"),
                tr("Activity", "Model"),
                tr("Activity", "Outcome"),
                tr("Activity", "Prompt"),
                tr("Activity", "Answer"),
                tr("Activity", "Seconds"),
            ]
        )
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(38)
        self.table.setShowGrid(False)
        self.table.setMinimumHeight(340)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in range(3, 6):
            if (title := self.table.horizontalHeaderItem(column)) is not None:
                title.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.itemSelectionChanged.connect(self._on_selection)
        card.body.addWidget(self.table)
        self._empty = label(tr("Activity", "No receipt has been signed yet."), "muted")
        card.body.addWidget(self._empty)
        self.verify_button = button(tr("Activity", "Verify"), "primary", self._verify)
        self.verify_button.setAccessibleDescription(
            tr("Activity", "Checks the signature of the chosen receipt, or of all")
        )
        self.result = label("", "muted")
        self.result.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.result.hide()
        card.body.addLayout(row(self.verify_button, None))
        card.body.addWidget(self.result)
        self.body.addWidget(card)
        self.payouts = PayoutCard()
        self.body.addWidget(self.payouts)
        self.body.addStretch(1)

    def show_state(self, state: HostState) -> None:
        """Show the receipts the host has now, once they are looked at."""
        has_any = isinstance(state, HostSeen) and bool(state.receipts.receipts)
        self.verify_button.setEnabled(has_any)
        if not isinstance(state, HostSeen):
            return
        self.payouts.host = state.status.peer_id
        self.payouts.show_payouts(payout_lines(state.account) if state.account else [])
        if not self.isVisible():
            return
        wanted = (state.receipts, state.status.peer_id)
        if wanted == self._shown:
            return
        self._shown = wanted
        names = {model.digest: model.name for model in state.status.models}
        self._fill(receipt_rows(state.receipts, state.status.peer_id, names))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's
        """Verifying hundreds of signatures takes a moment: only when somebody looks."""
        super().showEvent(event)
        self.show_state(self._desk.link.state)

    def _fill(self, rows: list[ReceiptRow]) -> None:
        self._rows = rows
        self.table.setRowCount(len(rows))
        for number, found in enumerate(rows):
            cells = (
                found.time,
                found.model,
                found.outcome,
                grouped(found.prompt_tokens),
                grouped(found.answer_tokens),
                f"{found.seconds:.1f}",
            )
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                if column > 2:  # numbers
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.table.setItem(number, column, item)
        self.table.setVisible(bool(rows))
        self._empty.setVisible(not rows)
        self._on_selection()

    def _chosen(self) -> ReceiptRow | None:
        rows = self.table.selectionModel().selectedRows()
        return self._rows[rows[0].row()] if rows and rows[0].row() < len(self._rows) else None

    def _on_selection(self) -> None:
        chosen = self._chosen()
        self.verify_button.setText(
            tr("Activity", "Verify this receipt") if chosen else tr("Activity", "Verify all")
        )
        say(self.result, "")

    def _verify(self) -> None:
        if self._shown is None:
            return
        receipts, host = self._shown
        chosen = self._chosen()
        if chosen is not None:
            found = verdict(chosen.signed, host)
            say(self.result, found.sentence, "good" if found.tone == "good" else "problem")
            return
        false = [text for text in receipts.receipts if verdict(text, host).tone != "good"]
        count = len(receipts.receipts)
        if false:
            sentence = tr("Activity", "{false} of {count} were not signed by this host.")
        else:
            sentence = tr("Activity", "All {count} receipts carry this host's true signature.")
        role: Role = "problem" if false else "good"
        say(self.result, sentence.format(false=len(false), count=count), role)
