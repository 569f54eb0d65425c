"""Ports for processes that are told where to listen before they start."""

import random
import socket

# Below the ports that systems hand to outgoing connections (32768 and up on Linux, 49152 and up
# elsewhere, RFC 6335): one of those would be free now and a neighbour's connection a moment later.
FIRST = 20_000
LAST = 32_767
_CHOICE = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Different TCP ports on which nobody listens, at any address of this machine.

    Another program may still take one before it is used; listening then says so.
    """
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                probe.bind(("0.0.0.0", _CHOICE.randint(FIRST, LAST)))  # noqa: S104  # a probe only
            except OSError:
                probe.close()
            else:
                held.append(probe)
        return [probe.getsockname()[1] for probe in held]
    finally:
        for probe in held:
            probe.close()
