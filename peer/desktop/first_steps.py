"""What the first run says and accepts: without a widget."""

from collections.abc import Mapping

from peerllm.overlay.invitation import InvitationError, read_invitation
from peerllm.peer.catalogue import CatalogueModel
from peerllm.peer.desktop.models_view import needed_bytes
from peerllm.peer.desktop.presentation import size
from peerllm.peer.desktop.strings import tr
from peerllm.peer.limits import Limits


def what_hosting_means() -> tuple[tuple[str, str], ...]:
    """In plain words: what it is, what it brings, what is seen, what it costs."""
    return (
        (
            tr("First run", "Your computer answers for other people"),
            tr(
                "First run",
                "While it has nothing else to do, it runs a language model for people who ask the "
                "network. You decide when and how much, and can stop at any moment.",
            ),
        ),
        (
            tr("First run", "Earnings are not guaranteed"),
            tr(
                "First run",
                "Answers are paid by a public price list, and newcomers wait longer for theirs. "
                "There may be little work, or none. It can cost more power than it brings; this "
                "window shows you the difference, also when it is negative.",
            ),
        ),
        (
            tr("First run", "A host can read what it works on"),
            tr(
                "First run",
                "Names, numbers and addresses are taken out before a question reaches you, and "
                "nothing of it is written down here. No software can make it unreadable while "
                "your computer works on it: do not look for it, and do not host if you would.",
            ),
        ),
        (
            tr("First run", "It takes power, memory and some of the disk"),
            tr(
                "First run",
                "The processor works hard while it answers: the fan may be heard. The next steps "
                "measure that, and set limits.",
            ),
        ),
    )


def coordinator_fault(text: str) -> str:
    """What is wrong with an invitation or a network's address; empty when it can be one."""
    if not text.strip():
        return tr(
            "First run",
            "Paste the address of your invitation. Without one, ask the network for a place on "
            "its waiting list, and come back.",
        )
    try:
        read_invitation(text)
    except InvitationError as error:
        match error.reason:
            case "altered":
                return tr(
                    "First run",
                    "The invitation was altered on its way: its checksum does not fit. Copy it "
                    "once more from where it was given to you.",
                )
            case "not_whole":
                return tr(
                    "First run",
                    "The invitation is not whole: it begins with peerllm: and ends with ;check= "
                    "and eight letters or digits. Copy all of it.",
                )
        return tr(
            "First run",
            "That is no invitation and no network's address: an address looks like "
            "/ip4/ADDRESS/tcp/PORT/p2p/PEER-ID.",
        )
    return ""


def recommended(
    models: Mapping[str, CatalogueModel], free_bytes: int
) -> tuple[str, CatalogueModel] | None:
    """The largest model on this machine that leaves half of the free memory to its owner."""
    fitting = [item for item in models.items() if 2 * needed_bytes(item[1]) <= free_bytes]
    candidates = fitting or sorted(models.items(), key=lambda item: needed_bytes(item[1]))[:1]
    return max(candidates, key=lambda item: item[1].parameters, default=None)


def limits_sentence(limits: Limits) -> str:
    """The limits chosen, in words."""
    parts = [
        tr("First run", "Only while you are not using the computer.")
        if limits.idle_minutes
        else tr("First run", "Also while you are using the computer."),
        tr("First run", "On battery as well.")
        if limits.on_battery
        else tr("First run", "Never on battery."),
    ]
    if not limits.on_metered and not limits.beside_full_screen:
        told = tr(
            "First run",
            "Not on a network paid for by the byte, nor while a program fills the screen, where "
            "this computer tells.",
        )
        parts.append(told)
    if limits.memory_cap_bytes:
        memory = tr("First run", "At most {size} of memory.")
        parts.append(memory.format(size=size(limits.memory_cap_bytes)))
    return " ".join(parts)
