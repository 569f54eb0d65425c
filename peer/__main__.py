"""`python -m peerllm.peer`: the host's commands without the rest, as service managers run them."""

from peerllm.peer.commands import host_app

if __name__ == "__main__":
    host_app(prog_name="peerllm host")
