"""The room's front door: found a network, amend its charter, load and verify it."""

from peerllm.charter.founding import amend_network, found_network
from peerllm.charter.loading import Charter, founding_root, load_charter

__all__ = ["Charter", "amend_network", "found_network", "founding_root", "load_charter"]
