"""The window's colours: one accent, light and dark. docs/desktop.md shows both."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Palette:
    """Colours by what they are for, as #rrggbb."""

    is_dark: bool
    background: str
    sidebar: str
    card: str
    field: str
    border: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    on_accent: str
    accent_soft: str
    good: str
    waiting: str
    problem: str


LIGHT: Final = Palette(
    is_dark=False,
    background="#f7f6f3",
    sidebar="#efede8",
    card="#ffffff",
    field="#fbfaf8",
    border="#e2dfd8",
    text="#1c1e22",
    muted="#5f636c",
    accent="#1f6f5c",
    accent_hover="#185a4a",
    on_accent="#ffffff",
    accent_soft="#dfece7",
    good="#1f7a55",
    waiting="#8f5a00",
    problem="#b0332a",
)

DARK: Final = Palette(
    is_dark=True,
    background="#17181b",
    sidebar="#1c1e21",
    card="#222428",
    field="#1b1d20",
    border="#34373d",
    text="#ecedef",
    muted="#a2a7b0",
    accent="#63bfa2",
    accent_hover="#7bd0b5",
    on_accent="#0d1a15",
    accent_soft="#26393a",
    good="#6fcaa4",
    waiting="#e2b055",
    problem="#f08a80",
)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, 1.4.3): 1 to 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
