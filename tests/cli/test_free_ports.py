"""Ports chosen before their processes start."""

import socket

from peerllm.cli.free_ports import FIRST, LAST, free_ports


def test_ports_differ_and_can_be_listened_on() -> None:
    ports = free_ports(40)
    assert len(set(ports)) == 40
    assert all(FIRST <= port <= LAST for port in ports)
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_somebody_listens_on_is_not_given() -> None:
    taken = free_ports(200)
    servers = [socket.create_server(("127.0.0.1", port)) for port in taken]
    try:
        assert not set(free_ports(400)) & set(taken)
    finally:
        for server in servers:
            server.close()
