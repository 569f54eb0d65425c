"""What an operator may set, checked once and then passed on whole."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from peerllm.overlay.invitation import SCHEME, InvitationError, read_invitation
from peerllm.peer.catalogue import WantedModel
from peerllm.peer.errors import ConfigurationError

# 4 answers of 4096 tokens: 380 MB of cache for the embedded model.
UNMEASURED_SLOTS: Final = 4
DEFAULT_CONTEXT_TOKENS: Final = 4096
# The library works in steps of 256 and a shorter context holds no conversation.
SMALLEST_CONTEXT_TOKENS: Final = 256
LARGEST_CONTEXT_TOKENS: Final = 1_048_576
MAXIMUM_SLOTS: Final = 64
# As many as one hello can offer.
MAXIMUM_MODELS: Final = 64
MAXIMUM_THREADS: Final = 256


@dataclass(frozen=True, kw_only=True)
class HostConfiguration:
    """Settings of one host. Raises `ConfigurationError` naming the setting that is wrong.

    `coordinator` is a multiaddr that ends in /p2p/ and the coordinator's peer id.
    `preloaded` are names of some of the `models`. `slots` are of all models together;
    0 of them or of `threads` leaves the choice to what the host measures.
    """

    data_directory: Path
    coordinator: str
    listen_address: str = "0.0.0.0"  # noqa: S104 - admission is by proven peer id
    listen_port: int = 0
    models: tuple[WantedModel, ...] = ()
    preloaded: tuple[str, ...] = ()
    slots: int = 0
    context_tokens: int = DEFAULT_CONTEXT_TOKENS
    threads: int = 0
    # How long running answers may go on after a request to stop.
    drain_seconds: int = 30

    def __post_init__(self) -> None:
        _check("number of models", len(self.models), 1, MAXIMUM_MODELS)
        if not _is_ip4(self.listen_address):
            raise ConfigurationError(
                "the address to listen on must be an IPv4 address of this machine, or 0.0.0.0 for "
                f"all of them, got {self.listen_address!r}"
            )
        _check("listen port", self.listen_port, 0, 65535)
        _check("slots", self.slots, 0, MAXIMUM_SLOTS)
        _check("context", self.context_tokens, SMALLEST_CONTEXT_TOKENS, LARGEST_CONTEXT_TOKENS)
        _check("threads", self.threads, 0, MAXIMUM_THREADS)
        _check("drain seconds", self.drain_seconds, 0, 3600)
        if not is_coordinator_address(self.coordinator):
            raise ConfigurationError(
                "the coordinator's address must look like /ip4/ADDRESS/tcp/PORT/p2p/PEER-ID "
                f"and end in an Ed25519 peer id, got {self.coordinator!r}"
            )

    @property
    def coordinator_peer_id(self) -> str:
        """Who the coordinator must prove to be."""
        return self.coordinator.rpartition("/p2p/")[2]

    @property
    def identity_path(self) -> Path:
        """Where the host's key is kept."""
        return identity_path(self.data_directory)

    @property
    def digest_cache_path(self) -> Path:
        """Where digests of model files already hashed are kept."""
        return self.data_directory / "model-digests.json"

    @property
    def limits_path(self) -> Path:
        """Where the owner's limits are kept."""
        return self.data_directory / "limits.json"

    @property
    def earnings_path(self) -> Path:
        """Where is counted what was signed for."""
        return self.data_directory / "earnings.json"

    @property
    def receipts_path(self) -> Path:
        """Where the receipts signed last are kept."""
        return self.data_directory / "receipts.json"

    @property
    def listen_multiaddr(self) -> str:
        """Where the host listens; port 0 lets the system choose."""
        return f"/ip4/{self.listen_address}/tcp/{self.listen_port}"


def is_coordinator_address(text: str) -> bool:
    """Whether this is a multiaddr that ends in /p2p/ and an Ed25519 peer id."""
    try:
        return read_invitation(text).address == text
    except InvitationError:
        return False


def coordinator_address(text: str) -> str:
    """The address in an invitation, or the text as it is. Raises `ConfigurationError`."""
    if not text.startswith(SCHEME):
        return text
    try:
        return read_invitation(text).address
    except InvitationError as error:
        raise ConfigurationError(str(error)) from None


def identity_path(data_directory: Path) -> Path:
    """Where the key of the host with this data directory is kept."""
    return data_directory / "identity"


def _is_ip4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _check(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ConfigurationError(f"{name} must be from {lowest} to {highest}, got {value}")
