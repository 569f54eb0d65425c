"""`python -m peerllm.cli` is `peerllm`."""

from peerllm.cli.main import main

main()
