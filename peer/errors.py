"""What can go wrong in a host.

No message quotes a prompt or an answer. Where an exception carries a `reason`, it is one
of a closed set of words and safe to log.
"""

from typing import Literal

LoadFault = Literal[
    "missing_file",
    "not_gguf",
    "digest_mismatch",
    "duplicate",
    "no_memory",
    "no_library",
    "no_chat_template",
    "unloadable",
    "engine_died",
    "timeout",
]
TaskFault = Literal["context_exceeded", "bad_task"]


class PeerError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(PeerError):
    """A setting of the host is missing or out of bounds."""


class ModelError(PeerError):
    """A model cannot be served; the message is one sentence for the operator."""

    def __init__(self, reason: LoadFault, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: LoadFault = reason


class PromptError(PeerError):
    """A task that this model cannot be given; the message holds numbers at most."""

    def __init__(self, reason: TaskFault, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: TaskFault = reason


class EngineError(PeerError):
    """The inference library failed in the middle of work; the engine must be restarted."""
