from pathlib import Path
from typing import Any

import pytest

from peerllm.crypto.identity import Identity
from peerllm.overlay.invitation import Invitation, write_invitation
from peerllm.peer.catalogue import WantedModel
from peerllm.peer.configuration import HostConfiguration, coordinator_address
from peerllm.peer.errors import ConfigurationError

COORDINATOR = Identity.from_seed(bytes(32)).peer_id


def configuration(**changes: Any) -> HostConfiguration:
    settings: dict[str, Any] = {
        "data_directory": Path("/data"),
        "coordinator": f"/ip4/127.0.0.1/tcp/4001/p2p/{COORDINATOR}",
        "models": (WantedModel("tiny", Path("/tiny.gguf")),),
        **changes,
    }
    return HostConfiguration(**settings)


def test_defaults_leave_slots_to_measuring_and_keep_4096_tokens() -> None:
    made = configuration()
    assert (made.slots, made.context_tokens) == (0, 4096)
    assert made.coordinator_peer_id == COORDINATOR
    assert made.listen_multiaddr == "/ip4/0.0.0.0/tcp/0"
    assert made.identity_path.parent == made.digest_cache_path.parent == Path("/data")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"slots": -1}, "slots must be from 0"),
        ({"slots": 65}, "slots"),
        ({"context_tokens": 255}, "context must be from 256"),
        ({"threads": -1}, "threads"),
        ({"listen_port": 65536}, "listen port"),
        ({"listen_address": "::"}, "must be an IPv4 address of this machine"),
        ({"listen_address": "0.0.0.0/tcp/1"}, "must be an IPv4 address of this machine"),
        ({"drain_seconds": -1}, "drain seconds"),
        ({"coordinator": "127.0.0.1:4001"}, "/p2p/PEER-ID"),
        ({"coordinator": "/ip4/127.0.0.1/tcp/4001/p2p/nobody"}, "/p2p/PEER-ID"),
        ({"coordinator": f"/ip4/127.0.0.1/p2p/{COORDINATOR}"}, "/p2p/PEER-ID"),
        ({"coordinator": f"/ip4/127.0.0.1/tcp/99999/p2p/{COORDINATOR}"}, "/p2p/PEER-ID"),
        ({"coordinator": f"/ip4/127.0.0.256/tcp/4001/p2p/{COORDINATOR}"}, "/p2p/PEER-ID"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        configuration(**changes)
    assert str(next(iter(changes.values()))) in str(caught.value)


def test_there_must_be_a_model() -> None:
    with pytest.raises(ConfigurationError, match="number of models must be from 1 to 64, got 0"):
        configuration(models=())


def test_an_invitation_stands_for_its_address() -> None:
    address = f"/ip4/127.0.0.1/tcp/4001/p2p/{COORDINATOR}"
    text = write_invitation(Invitation(address, "ab" * 32))
    assert coordinator_address(text) == address
    assert coordinator_address(address) == address
    with pytest.raises(ConfigurationError, match="altered on its way"):
        coordinator_address(text.replace("4001", "4002"))
