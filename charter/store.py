"""The room's front door: found a network, load and verify its charter."""

from peerllm.charter.founding import found_network
from peerllm.charter.loading import Charter, founding_root, load_charter

__all__ = ["Charter", "found_network", "founding_root", "load_charter"]
