"""What a desktop tells a host beside the machine itself, and why not where it does not."""

from typing import Literal

import msgspec

Blindness = Literal[
    # It can be told.
    "",
    # Not looked yet.
    "starting",
    # macOS and Windows: nobody has written it.
    "platform",
    "no_system_bus",
    "no_network_manager",
    "no_login_manager",
    # Started where there is no display, as a login service is.
    "no_display",
    # A Wayland desktop keeps windows from each other.
    "wayland",
    "no_window_manager",
]


class Senses(msgspec.Struct, frozen=True, kw_only=True):
    """Why something cannot be told; empty where it can."""

    metered: Blindness = "starting"
    full_screen: Blindness = "starting"
    sleep: Blindness = "starting"
