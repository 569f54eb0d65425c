"""The front door: one command, `peerllm`, assembled from the rooms."""
