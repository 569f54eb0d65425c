"""An invitation: where a network is reached and who must answer there, as one text to paste.

    peerllm:/ip4/203.0.113.5/tcp/4001/p2p/PEER-ID;root=DIGEST;check=12345678

`root`, which may be missing, is the SHA-256 of the root of the network's charter. `check` is the
beginning of a SHA-256 over all before it: an address mistyped by a letter names somebody else, and
nothing else would show it. It keeps off mistakes and proves nothing: who sends an invitation
decides whom it leads to. A plain address is one, too.
"""

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from peerllm.crypto.errors import PeerIdError
from peerllm.crypto.identity import public_key_of
from peerllm.overlay.errors import AddressError

SCHEME: Final = "peerllm:"
# 32 bits: one slip in four thousand million goes unseen.
_CHECK_DIGITS: Final = 8
# The longest host name is 253 characters; the rest is a tenth of this.
_MAXIMUM_CHARACTERS: Final = 1024
_ADDRESS: Final = re.compile(
    r"/(ip4|ip6|dns|dns4|dns6)/([A-Za-z0-9.:_-]{1,253})/tcp/([0-9]{1,5})/p2p/([1-9A-Za-z]{1,64})"
)
_NUMBERS: Final = {"ip4": IPv4Address, "ip6": IPv6Address}
_SENTENCES: Final = {
    "too_long": f"an invitation has at most {_MAXIMUM_CHARACTERS} characters",
    "not_whole": "the invitation is not whole: it begins with peerllm: and ends with ;check= and "
    f"{_CHECK_DIGITS} letters or digits; copy all of it",
    "altered": "the invitation was altered on its way: its checksum does not fit; copy it once "
    "more from where it was given",
    "no_address": "that is no network's address: it looks like /ip4/ADDRESS/tcp/PORT/p2p/PEER-ID, "
    "with the coordinator's own id at its end",
}
_TEXT: Final = re.compile(r"peerllm:([^;]+)(?:;root=([0-9a-f]{64}))?;check=([0-9a-f]{8})")


class InvitationError(AddressError):
    """What was pasted leads nowhere; the message says why and what to do."""

    def __init__(self, reason: Literal["too_long", "not_whole", "altered", "no_address"]) -> None:
        super().__init__(_SENTENCES[reason])
        self.reason: Final = reason


@dataclass(frozen=True)
class Invitation:
    """A coordinator's address, ending in its peer id; the charter's root digest in hex, or ""."""

    address: str
    root_digest: str = ""


def write_invitation(invitation: Invitation) -> str:
    """The text to hand on. Raises `InvitationError`."""
    _check_address(invitation.address)
    root = f";root={invitation.root_digest}" if invitation.root_digest else ""
    text = f"{SCHEME}{invitation.address}{root}"
    return f"{text};check={_check_of(text)}"


def read_invitation(text: str) -> Invitation:
    """What was pasted: an invitation, or a plain address. Raises `InvitationError`.

    Line breaks and blanks that a letter put in are no part of it.
    """
    if len(text) > _MAXIMUM_CHARACTERS:
        raise InvitationError("too_long")
    plain = "".join(text.split())
    if not plain.startswith(SCHEME):
        _check_address(plain)
        return Invitation(plain)
    found = _TEXT.fullmatch(plain)
    if found is None:
        raise InvitationError("not_whole")
    if _check_of(plain.rpartition(";check=")[0]) != found[3]:
        raise InvitationError("altered")
    _check_address(found[1])
    return Invitation(found[1], found[2] or "")


def _check_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_CHECK_DIGITS]


def _check_address(address: str) -> None:
    found = _ADDRESS.fullmatch(address)
    if found is None or not _names_a_peer(found[1], found[2], found[3], found[4]):
        raise InvitationError("no_address")


def _names_a_peer(kind: str, place: str, port: str, peer_id: str) -> bool:
    try:
        public_key_of(peer_id)
        if kind in _NUMBERS:
            _NUMBERS[kind](place)
    except (PeerIdError, ValueError):
        return False
    return 1 <= int(port) <= 65535
