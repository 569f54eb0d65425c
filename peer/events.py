"""The events a host logs."""

from typing import Literal

HostEvent = Literal[
    "starting",
    "tuning",
    "engine_loading",
    "engine_ready",
    "engine_restarting",
    "engine_unavailable",
    "model_away",
    "listening",
    "unreachable",
    "connected",
    "disconnected",
    "refused_by_coordinator",
    "certificate_renewed",
    "chunk_accepted",
    "chunk_refused",
    "chunk_finished",
    "draining",
    "holding",
    "resumed",
    "control_open",
    "sharing",
    "fetch_begun",
    "fetch_ended",
    "holder_left",
    "holders_not_found",
    "stopped",
    "library_warning",
    "crashed",
]
