"""The palette put on Qt's widgets: one style sheet, and the colours Qt draws by itself."""

from string import Template
from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from peerllm.peer.desktop.palette import DARK, LIGHT, Palette
from peerllm.peer.desktop.settings import Theme

# Where the desktop names none of its own, the first of these that is there.
_FONTS: Final = ["Inter", "Noto Sans", "Cantarell", "Ubuntu", "DejaVu Sans"]
_SHEET: Final = Template("""
* { outline: none; }
QWidget { color: $text; font-size: 14px; }
QMainWindow, QDialog, #page, #pageBody, QStackedWidget, QScrollArea { background: $background; }
QScrollArea { border: none; }
#sidebar { background: $sidebar; border-right: 1px solid $border; }
#brand { font-size: 17px; font-weight: 600; }
QPushButton#nav {
  text-align: left; padding: 9px 12px; border: 1px solid transparent; border-radius: 8px;
  background: transparent; color: $muted; font-weight: 500;
}
QPushButton#nav:hover { background: $card; color: $text; }
QPushButton#nav:checked { background: $card; color: $text; border-color: $border; }
QPushButton#nav:focus { border-color: $accent; }
#card { background: $card; border: 1px solid $border; border-radius: 12px; }
#notice { background: $accent_soft; border-radius: 10px; }
#line { background: $border; max-height: 1px; min-height: 1px; border: none; }
QLabel { background: transparent; }
QLabel[role="title"] { font-size: 26px; font-weight: 600; }
QLabel[role="headline"] { font-size: 22px; font-weight: 600; }
QLabel[role="heading"] { font-size: 16px; font-weight: 600; }
QLabel[role="value"] { font-size: 24px; font-weight: 600; }
QLabel[role="muted"] { color: $muted; }
QLabel[role="small"] { color: $muted; font-size: 12px; }
QLabel[role="good"] { color: $good; }
QLabel[role="waiting"] { color: $waiting; }
QLabel[role="problem"] { color: $problem; }
QPushButton {
  padding: 8px 16px; border-radius: 8px; border: 1px solid $border; background: $card;
  font-weight: 500;
}
QPushButton:hover { border-color: $muted; }
QPushButton:pressed { background: $field; }
QPushButton:focus { border: 1px solid $accent; }
QPushButton:disabled { color: $muted; background: $field; border-color: $border; }
QPushButton[kind="primary"] {
  background: $accent; color: $on_accent; border: 2px solid $accent; font-weight: 600;
}
QPushButton[kind="primary"]:hover { background: $accent_hover; border-color: $accent_hover; }
QPushButton[kind="primary"]:focus { border-color: $text; }
QPushButton[kind="primary"]:disabled {
  background: $field; border-color: $border; color: $muted;
}
QPushButton[kind="danger"] { color: $problem; }
QPushButton[kind="link"] {
  border: 1px solid transparent; background: transparent; color: $accent; padding: 8px 6px;
}
QPushButton[kind="link"]:hover { color: $accent_hover; }
QPushButton[kind="link"]:focus { border-color: $accent; }
QLineEdit, QComboBox, QSpinBox, QTimeEdit, QPlainTextEdit, QTextBrowser {
  background: $field; border: 1px solid $border; border-radius: 8px; padding: 7px 10px;
  selection-background-color: $accent; selection-color: $on_accent;
}
QLineEdit:focus, QComboBox:focus, QSpinBox:focus, QTimeEdit:focus, QPlainTextEdit:focus {
  border: 1px solid $accent;
}
QLineEdit:disabled, QSpinBox:disabled, QTimeEdit:disabled { color: $muted; }
QSpinBox::up-button, QSpinBox::down-button, QTimeEdit::up-button, QTimeEdit::down-button {
  width: 0; border: none;
}
QComboBox::drop-down { border: none; width: 22px; }
QComboBox QAbstractItemView {
  background: $card; border: 1px solid $border; selection-background-color: $accent_soft;
  selection-color: $text; padding: 4px;
}
QProgressBar {
  background: $field; border: 1px solid $border; border-radius: 5px; max-height: 8px;
  min-height: 8px; text-align: center; color: transparent;
}
QProgressBar::chunk { background: $accent; border-radius: 4px; }
QTableWidget {
  background: $card; border: none; gridline-color: transparent;
  selection-background-color: $accent_soft; selection-color: $text;
  alternate-background-color: $field;
}
QTableWidget::item { padding: 6px 8px; border-bottom: 1px solid $border; }
QHeaderView { background: $card; }
QHeaderView::section {
  background: $card; color: $muted; border: none; border-bottom: 1px solid $border;
  padding: 8px; font-size: 12px; font-weight: 500; text-align: left;
}
QScrollBar:vertical { background: transparent; width: 12px; margin: 2px; }
QScrollBar::handle:vertical { background: $border; border-radius: 4px; min-height: 32px; }
QScrollBar::handle:vertical:hover { background: $muted; }
QScrollBar:horizontal { background: transparent; height: 12px; margin: 2px; }
QScrollBar::handle:horizontal { background: $border; border-radius: 4px; min-width: 32px; }
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {
  background: transparent; border: none; width: 0; height: 0;
}
QMenu { background: $card; border: 1px solid $border; padding: 6px; }
QMenu::item { padding: 6px 18px; border-radius: 6px; }
QMenu::item:selected { background: $accent_soft; }
QMenu::item:disabled { color: $muted; }
QMenu::separator { height: 1px; background: $border; margin: 6px 8px; }
QToolTip { background: $card; color: $text; border: 1px solid $border; padding: 6px; }
#bubbleUser { background: $accent_soft; border-radius: 12px; }
#bubbleModel { background: $card; border: 1px solid $border; border-radius: 12px; }
#step { border-radius: 3px; background: $border; min-height: 6px; max-height: 6px; }
#step[done="true"] { background: $accent; }
""")


def palette_for(theme: Theme) -> Palette:
    """The palette chosen, or the one the desktop asks for."""
    if theme == "system":
        dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        return DARK if dark else LIGHT
    return DARK if theme == "dark" else LIGHT


def apply_style(application: QApplication, palette: Palette) -> None:
    """Put the palette in force everywhere; in force already, it costs nothing."""
    names = {name: value for name, value in vars(palette).items() if isinstance(value, str)}
    sheet = _SHEET.substitute(names)
    if application.styleSheet() == sheet:
        return
    if application.style().objectName().lower() != "fusion":
        # The platform's own style draws over parts of the sheet.
        application.setStyle("Fusion")
    colours = QPalette()
    for role, colour in (
        (QPalette.ColorRole.Window, palette.background),
        (QPalette.ColorRole.WindowText, palette.text),
        (QPalette.ColorRole.Base, palette.field),
        (QPalette.ColorRole.AlternateBase, palette.card),
        (QPalette.ColorRole.Text, palette.text),
        (QPalette.ColorRole.Button, palette.card),
        (QPalette.ColorRole.ButtonText, palette.text),
        (QPalette.ColorRole.Highlight, palette.accent),
        (QPalette.ColorRole.HighlightedText, palette.on_accent),
        (QPalette.ColorRole.PlaceholderText, palette.muted),
        (QPalette.ColorRole.Link, palette.accent),
        (QPalette.ColorRole.ToolTipBase, palette.card),
        (QPalette.ColorRole.ToolTipText, palette.text),
    ):
        colours.setColor(role, QColor(colour))
    application.setPalette(colours)
    application.setStyleSheet(sheet)


def choose_font(application: QApplication) -> None:
    """The desktop's own font, where it has one; else one that reads well."""
    font = QFont(application.font())
    if font.family().lower() in {"", "sans serif", "sans", "sans-serif"}:
        font.setFamilies(_FONTS)
    application.setFont(font)
