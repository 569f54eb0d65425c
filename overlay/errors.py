"""What can go wrong between two nodes.

No message quotes what a peer sent: it may be a prompt, an answer or a secret. Where
an exception carries a `reason`, it is one of a closed set of words and safe to log.
"""

# ruff: noqa: N818 - "SessionClosed" says what happened; a suffix would add nothing.

from typing import Literal

FrameFault = Literal["too_large", "malformed", "unsupported_version", "truncated"]


class OverlayError(Exception):
    """Base of every error this package raises on purpose."""


class FrameError(OverlayError):
    """Bytes from a peer are not a message of this protocol."""

    def __init__(self, reason: FrameFault, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: FrameFault = reason


class StreamClosed(OverlayError):
    """The stream, its connection or its peer is gone; nothing more can be sent or read."""


class SessionClosed(OverlayError):
    """The session has ended, or ended while this message was being sent."""


class SessionViolation(OverlayError):
    """Raised by a message handler: the peer broke the protocol, close the session.

    `reason` is logged and sent to the peer: a short fixed phrase, never anything the
    peer sent.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DialError(OverlayError):
    """A peer could not be reached, is not who the address names, or lacks the protocol."""


class AddressError(OverlayError):
    """An address is not one this node can listen on or dial."""
