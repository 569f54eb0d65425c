"""The events a coordinator logs."""

from typing import Literal

CoordinatorEvent = Literal[
    "recovered",
    "listening",
    "host_joined",
    "host_refused",
    "host_gone",
    "leads",
    "request_failed",
    "library_warning",
    "crashed",
    "stopping",
    "stopped",
]
