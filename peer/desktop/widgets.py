"""The few shapes all pages are made of: cards, labels, buttons, switches."""

import re
from collections.abc import Callable
from typing import Literal

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from peerllm.peer.desktop.palette import Palette

Role = Literal[
    "body", "title", "headline", "heading", "value", "muted", "small", "good", "waiting", "problem"
]
ButtonKind = Literal["plain", "primary", "danger", "link"]

# A line of text longer than this is hard to follow.
_PAGE_WIDTH = 860
_SPACING = 16
# Of the widest letters, so many fill the narrowest column of the narrowest window.
_LONG_WORD = re.compile(r"\S{24}(?=\S)")


def label(text: str, role: Role = "body", *, wrap: bool = True) -> QLabel:
    """Text that is never taken for markup, whoever wrote it."""
    found = QLabel(text)
    found.setTextFormat(Qt.TextFormat.PlainText)
    found.setProperty("role", role)
    found.setWordWrap(wrap)
    return found


def breakable(text: str) -> str:
    """With places to break its longest words at: nobody's address makes a page too wide."""
    return _LONG_WORD.sub("\\g<0>\u200b", text)


def set_role(found: QLabel, role: Role) -> None:
    """Give a label another look."""
    if found.property("role") != role:
        found.setProperty("role", role)
        found.style().unpolish(found)
        found.style().polish(found)


def say(found: QLabel, text: str, role: Role | None = None) -> None:
    """Have a label say something; one that says nothing takes no room."""
    found.setText(text)
    found.setVisible(bool(text))
    if role is not None:
        set_role(found, role)


def button(
    text: str, kind: ButtonKind = "plain", on_click: Callable[[], None] | None = None
) -> QPushButton:
    """A button; reached with Tab, pressed with Space or Return."""
    found = QPushButton(text)
    found.setProperty("kind", kind)
    found.setAutoDefault(True)
    found.setCursor(Qt.CursorShape.PointingHandCursor)
    if on_click is not None:
        found.clicked.connect(lambda _checked=False: on_click())
    return found


class Card(QFrame):
    """A group of things that belong together."""

    def __init__(self, heading: str = "", note: str = "") -> None:
        super().__init__()
        self.setObjectName("card")
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(22, 20, 22, 20)
        self.body.setSpacing(10)
        if heading:
            self.body.addWidget(label(heading, "heading"))
        if note:
            self.body.addWidget(label(note, "muted"))


class Page(QScrollArea):
    """A page of the window: a title, and below it what it is about."""

    def __init__(self, title: str, lead: str = "") -> None:
        super().__init__()
        self.setObjectName("page")
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QWidget()
        inside.setObjectName("pageBody")
        outer = QHBoxLayout(inside)
        outer.setContentsMargins(32, 28, 32, 28)
        column = QWidget()
        column.setMaximumWidth(_PAGE_WIDTH)
        self.body = QVBoxLayout(column)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(_SPACING)
        outer.addStretch(1)
        outer.addWidget(column, 100)
        outer.addStretch(1)
        self.setWidget(inside)
        self.body.addWidget(label(title, "title"))
        if lead:
            self.body.addWidget(label(lead, "muted"))
        self.setAccessibleName(title)


def row(*items: QWidget | None, spacing: int = 10) -> QHBoxLayout:
    """Widgets side by side; None pushes the rest to the right."""
    found = QHBoxLayout()
    found.setSpacing(spacing)
    for item in items:
        if item is None:
            found.addStretch(1)
        else:
            found.addWidget(item)
    return found


def field(name: str, widget: QWidget, note: str = "") -> QVBoxLayout:
    """An input under its name; a screen reader reads them together."""
    found = QVBoxLayout()
    found.setSpacing(4)
    title = label(name)
    title.setBuddy(widget)
    widget.setAccessibleName(name)
    if note:
        widget.setAccessibleDescription(note)
    found.addWidget(title)
    # One of a fixed width keeps to the left of its column.
    is_narrow = widget.maximumWidth() < _PAGE_WIDTH
    found.addWidget(widget, 0, Qt.AlignmentFlag.AlignLeft if is_narrow else Qt.AlignmentFlag(0))
    if note:
        found.addWidget(label(note, "small"))
    return found


def line() -> QFrame:
    """A thin line between two things."""
    found = QFrame()
    found.setObjectName("line")
    return found


def clear(layout: QLayout) -> None:
    """Take everything out of a layout."""
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()
        elif (inner := item.layout()) is not None:
            clear(inner)


class Switch(QCheckBox):
    """A check box that looks like a switch."""

    def __init__(self, text: str, palette: Callable[[], Palette]) -> None:
        super().__init__(text)
        self._palette = palette
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Room for the switch beside the text."""
        metrics = self.fontMetrics()
        return QSize(52 + metrics.horizontalAdvance(self.text()), max(26, metrics.height() + 8))

    def hitButton(self, pos: object) -> bool:  # noqa: N802, ARG002
        """All of it."""
        return True

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's
        """Draw track, knob and text."""
        colours = self._palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top = (self.height() - 22) / 2
        track = QRectF(1, top, 38, 22)
        on = self.isChecked() and self.isEnabled()
        painter.setPen(QColor(colours.accent if self.hasFocus() or on else colours.muted))
        painter.setBrush(QColor(colours.accent if on else colours.field))
        painter.drawRoundedRect(track, 11, 11)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.on_accent if on else colours.muted))
        painter.drawEllipse(QRectF(track.left() + (19 if on else 3), top + 3, 16, 16))
        if self.hasFocus():
            painter.setPen(QColor(colours.text if on else colours.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(track.adjusted(-0.5, -2.5, 1.5, 2.5), 13, 13)
        painter.setPen(QColor(colours.text if self.isEnabled() else colours.muted))
        text = QRectF(50, 0, self.width() - 50, self.height())
        painter.drawText(text, Qt.AlignmentFlag.AlignVCenter, self.text())
        painter.end()


class Choice(QComboBox):
    """A list to choose from, with the chevron that tells it from a field to type in."""

    def __init__(self, palette: Callable[[], Palette]) -> None:
        super().__init__()
        self._palette = palette
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw the chevron over what Qt draws."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pen = QPen(QColor(self._palette().muted), 1.6)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        right, middle = self.width() - 14.0, self.height() / 2
        tip = QPointF(right - 4, middle + 2)
        painter.drawLine(QPointF(right - 8, middle - 2), tip)
        painter.drawLine(tip, QPointF(right, middle - 2))
        painter.end()


class Dot(QWidget):
    """A small round sign of a tone."""

    def __init__(self, diameter: int = 12) -> None:
        super().__init__()
        self._diameter = diameter
        self._colour = "#888888"
        self.setFixedSize(diameter, diameter)

    def set_colour(self, colour: str) -> None:
        """Show another one."""
        if colour != self._colour:
            self._colour = colour
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802, ARG002 - Qt's
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._colour))
        painter.drawEllipse(QRectF(0.5, 0.5, self._diameter - 1, self._diameter - 1))
        painter.end()


def tone_colour(palette: Palette, tone: str) -> str:
    """The colour of a tone of `presentation`."""
    return {
        "good": palette.good,
        "quiet": palette.muted,
        "waiting": palette.waiting,
        "problem": palette.problem,
    }[tone]


def copy_text(text: str) -> None:
    """Put a text where the owner can paste it from."""
    QApplication.clipboard().setText(text)
