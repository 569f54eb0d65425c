"""Every English string of the window goes through here, so that one catalogue translates it."""

from PySide6.QtCore import QCoreApplication


def tr(context: str, text: str) -> str:
    """The text in the user's language; `context` says where it stands.

    Both are literals where this is called: `peerllm.ts` is made from them.
    """
    return QCoreApplication.translate(context, text)


def counted(number: int, one: str, more: str) -> str:
    """One of two sentences that were translated already, with `{count}` filled in."""
    return (one if number == 1 else more).format(count=f"{number:,}".replace(",", "\u202f"))
