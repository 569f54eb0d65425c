"""The bars of the last days. pyqtgraph is imported when the chart is first seen."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final

from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from peerllm.peer.desktop.overview_view import round_steps
from peerllm.peer.desktop.palette import Palette
from peerllm.peer.desktop.presentation import grouped
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import label

_HEIGHT: Final = 170
# An empty chart still has a scale.
_LEAST_TOP: Final = 10


class DaysChart(QWidget):
    """One bar a day, the last one today."""

    def __init__(self, palette: Callable[[], Palette]) -> None:
        super().__init__()
        self._palette = palette
        self._days: Sequence[tuple[date, int]] = ()
        self._plot: Any = None
        self._bars: Any = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._empty: QLabel = label(
            tr("Overview", "Nothing yet. The first bar appears with the first answer."), "muted"
        )
        self._layout.addWidget(self._empty)

    def prepare(self) -> None:
        """Load what draws the bars."""
        if self._plot is not None:
            return
        import pyqtgraph  # noqa: PLC0415 - a second of import, after the first paint

        pyqtgraph.setConfigOptions(antialias=True)
        plot = pyqtgraph.PlotWidget()
        plot.setMouseEnabled(x=False, y=False)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setFixedHeight(_HEIGHT)
        plot.getPlotItem().getViewBox().wheelEvent = lambda event, axis=None: event.ignore()  # noqa: ARG005
        plot.setFocusPolicy(self.focusPolicy())
        self._bars = pyqtgraph.BarGraphItem(x=[], height=[], width=0.62)
        plot.addItem(self._bars)
        self._plot = plot
        self._layout.addWidget(plot)
        self._draw()

    def show_days(self, days: Sequence[tuple[date, int]]) -> None:
        """Show other figures."""
        if days != self._days:
            self._days = days
            self._draw()

    def restyle(self) -> None:
        """The colours are others now."""
        self._draw()

    def _draw(self) -> None:
        heights = [tokens for _, tokens in self._days]
        total = tr("Overview", "{count} answer tokens in the last {days} days")
        self.setAccessibleName(total.format(count=grouped(sum(heights)), days=len(heights)))
        self._empty.setVisible(not any(heights))
        if self._plot is None or not heights:
            return
        self._plot.setVisible(any(heights))
        colours = self._palette()
        self._plot.setBackground(colours.card)
        self._bars.setOpts(
            x=list(range(len(heights))), height=heights, brush=colours.accent, pen=None
        )
        self._plot.setXRange(-0.6, len(heights) + 0.6, padding=0)
        self._plot.setYRange(0, max(_LEAST_TOP, *heights) * 1.08, padding=0)
        ticks = [
            (place, day.strftime("%d %b"))
            for place, (day, _) in enumerate(self._days)
            if place % 7 == len(self._days) % 7 - 1 or place == len(self._days) - 1
        ]
        for side in ("bottom", "left"):
            axis = self._plot.getAxis(side)
            axis.setPen(colours.border)
            axis.setTextPen(colours.muted)
            axis.setStyle(tickLength=0)
        self._plot.getAxis("bottom").setTicks([ticks])
        heights_told = round_steps(max(_LEAST_TOP, *heights))
        self._plot.getAxis("left").setTicks([[(n, grouped(n)) for n in heights_told]])
        self._plot.getAxis("left").setWidth(56)
