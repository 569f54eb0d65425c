"""Small line drawings for the sidebar, and the sign of the program; drawn, not loaded."""

from typing import Final

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

_FRAME: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="{colour}" '
    'stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">{body}</svg>'
)
_BODIES: Final = {
    "overview": '<path d="M4 18a8 8 0 1 1 16 0"/><path d="M12 18l4-6"/><path d="M3 18h18"/>',
    "models": '<path d="M12 3l8 4.5v9L12 21l-8-4.5v-9z"/><path d="M4 7.5l8 4.5 8-4.5M12 12v9"/>',
    "limits": '<path d="M5 7h8M17 7h2M5 17h2M11 17h8"/><circle cx="15" cy="7" r="2"/>'
    '<circle cx="9" cy="17" r="2"/>',
    "activity": '<path d="M6 3h12v18l-3-2-3 2-3-2-3 2z"/><path d="M9 8h6M9 12h6"/>',
    "chat": '<path d="M4 5h16v11H11l-4 4v-4H4z"/>',
    "settings": '<circle cx="12" cy="8" r="4"/><path d="M4 21c1-5 4-7 8-7s7 2 8 7"/>',
}
# Three hosts around one question.
_SIGN: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
    '<rect x="4" y="4" width="56" height="56" rx="15" fill="{colour}"/>'
    '<g stroke="{ink}" stroke-width="4" fill="none"><path d="M32 32L32 18M32 32L20 42M32 32L44 42"'
    '/></g><g fill="{ink}"><circle cx="32" cy="32" r="6"/><circle cx="32" cy="16" r="5"/>'
    '<circle cx="18" cy="44" r="5"/><circle cx="46" cy="44" r="5"/></g></svg>'
)


def line_icon(name: str, colour: str) -> QIcon:
    """A drawing of the sidebar in a colour."""
    return _icon(_FRAME.format(colour=colour, body=_BODIES[name]), (20, 40))


def sign_icon(colour: str, ink: str = "#ffffff") -> QIcon:
    """The program's sign; its colour tells how the host is."""
    return _icon(_SIGN.format(colour=colour, ink=ink), (16, 22, 32, 64, 128))


def _icon(svg: str, sizes: tuple[int, ...]) -> QIcon:
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    icon = QIcon()
    for side in sizes:
        pixmap = QPixmap(QSize(side, side))
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter, QRectF(0, 0, side, side))
        painter.end()
        icon.addPixmap(pixmap)
    return icon
