"""Which limits have no effect on a computer because nobody tells what they need, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from peerllm.peer.limits import Conditions
from peerllm.peer.senses import Blindness, Senses

_WHY: Final[Mapping[Blindness, str]] = {
    "starting": "it is not known yet",
    "platform": "this is not available on macOS and Windows yet",
    "no_system_bus": "this computer has no message bus (D-Bus)",
    "no_network_manager": "NetworkManager does not run",
    "no_login_manager": "systemd-logind does not run",
    "no_display": "no display is to be seen (start the host from the desktop)",
    "wayland": "this desktop (Wayland) does not tell programs of each other",
    "no_window_manager": "no window manager runs that would say",
}
_NO_EFFECT: Final = "its limit has no effect"


@dataclass(frozen=True)
class ToldLimits:
    """What is told here, and for everything else what that means, by its name."""

    told: tuple[str, ...]
    untold: Mapping[str, str]


def told_limits(senses: Senses, now: Conditions) -> ToldLimits:
    """Every limit that goes by the computer's state; `now` was read for battery and temperature."""
    heat = "temperature" if now.celsius is None else f"temperature ({now.celsius:.0f} °C)"
    cut = "running answers are cut when it sleeps, and other hosts take them over"
    looked_at = (
        # The processor's times, which every system tells.
        ("idle", "", ""),
        ("battery", "" if now.on_battery is not None else "none is told of", _NO_EFFECT),
        (heat, "" if now.celsius is not None else "none can be read", _NO_EFFECT),
        ("metered network", _WHY.get(senses.metered, ""), _NO_EFFECT),
        ("full screen", _WHY.get(senses.full_screen, ""), _NO_EFFECT),
        ("sleep", _WHY.get(senses.sleep, ""), cut),
    )
    return ToldLimits(
        told=tuple(name for name, why, _ in looked_at if not why),
        untold={name: f"{why}; {so}" for name, why, so in looked_at if why},
    )
