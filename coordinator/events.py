"""The events a coordinator logs."""

from typing import Literal

CoordinatorEvent = Literal[
    "recovered",
    "listening",
    "judges_idle",
    "charter_in_force",
    "charter_refused",
    "host_joined",
    "host_refused",
    "host_gone",
    "seat_paused",
    "seat_resumed",
    "model_sought",
    "account_not_told",
    "appeal_made",
    "leads",
    "request_failed",
    "void_owed",
    "void_made",
    "void_left_to_restart",
    "library_warning",
    "crashed",
    "stopping",
    "stopped",
]
