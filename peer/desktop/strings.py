"""Every English string of the window goes through here, so that one catalogue translates it."""

from PySide6.QtCore import QCoreApplication


def tr(context: str, text: str) -> str:
    """The text in the user's language; `context` says where it stands.

    Both are literals where this is called: `peerllm.ts` is made from them.
    """
    return QCoreApplication.translate(context, text)
