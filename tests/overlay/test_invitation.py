"""Invitations: written, pasted with all a letter does to a text, and refused in a sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import AddressError
from peerllm.overlay.invitation import Invitation, read_invitation, write_invitation

PEER = Identity.from_seed(b"c" * 32).peer_id
ADDRESS = f"/ip4/203.0.113.5/tcp/4001/p2p/{PEER}"
ROOT = "ab" * 32


@pytest.mark.parametrize(
    "invitation",
    [
        Invitation(ADDRESS),
        Invitation(ADDRESS, ROOT),
        Invitation(f"/dns4/network.example/tcp/443/p2p/{PEER}", ROOT),
        Invitation(f"/ip6/2001:db8::7/tcp/1/p2p/{PEER}"),
    ],
)
def test_what_is_written_is_read(invitation: Invitation) -> None:
    text = write_invitation(invitation)
    assert read_invitation(text) == invitation
    folded = "\n> ".join([text[:40], text[40:]]).replace("> ", "  ")
    assert read_invitation(f"  {folded}\r\n") == invitation


def test_a_plain_address_is_an_invitation_without_a_root() -> None:
    assert read_invitation(f" {ADDRESS}\n") == Invitation(ADDRESS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "looks like /ip4"),
        ("hello", "looks like /ip4"),
        ("/ip4/203.0.113.5/tcp/4001", "looks like /ip4"),
        (f"/ip4/203.0.113.5/tcp/0/p2p/{PEER}", "looks like /ip4"),
        (f"/ip4/300.0.113.5/tcp/4001/p2p/{PEER}", "looks like /ip4"),
        (f"/ip6/203.0.113.5/tcp/4001/p2p/{PEER}", "looks like /ip4"),
        (f"/ip4/203.0.113.5/tcp/70000/p2p/{PEER}", "looks like /ip4"),
        (f"/ip4/203.0.113.5/udp/4001/p2p/{PEER}", "looks like /ip4"),
        (f"/ip4/203.0.113.5/tcp/4001/p2p/{PEER}x", "looks like /ip4"),
        ("peerllm:", "not whole"),
        (write_invitation(Invitation(ADDRESS, ROOT))[:-1], "not whole"),
        (write_invitation(Invitation(ADDRESS, ROOT))[9:], "looks like /ip4"),
        (write_invitation(Invitation(ADDRESS)).replace("203", "204"), "altered on its way"),
        (write_invitation(Invitation(ADDRESS, ROOT)).replace(ROOT, "ac" * 32), "altered"),
        ("x" * 2000, "at most"),
    ],
)
def test_what_is_no_invitation_is_refused_with_what_to_do(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        read_invitation(text)


@given(place=st.integers(0, 400), sign=st.sampled_from("abcdefghijk0123456789/:;=ABZ"))
@settings(max_examples=150)
def test_no_slip_of_one_letter_leads_elsewhere(place: int, sign: str) -> None:
    text = write_invitation(Invitation(ADDRESS, ROOT))
    place %= len(text)
    slipped = text[:place] + sign + text[place + 1 :]
    try:
        found = read_invitation(slipped)
    except AddressError:
        assert slipped != text
        return
    assert slipped == text
    assert found == Invitation(ADDRESS, ROOT)


@given(text=st.text(max_size=200))
@settings(max_examples=100)
def test_any_text_is_an_invitation_or_refused(text: str) -> None:
    with pytest.raises(AddressError):
        read_invitation(text)
