"""Ports are closed and opened again without being given away."""

import socket

import pytest
from tests.support.ports import free_port

from gatepost.config.schema import Listener
from gatepost.master.ports import BindFailed, Ports


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def listener(port: int) -> Listener:
    return Listener(address=f"127.0.0.1:{port}", host="127.0.0.1", port=port)


def test_paused_ports_refuse_and_listen_again() -> None:
    first, second = free_port(), free_port()
    ports = Ports()
    ports.bind([listener(first)])
    (before,) = ports.descriptors([listener(first)])
    assert answers(first)
    ports.pause()
    assert not answers(first)
    ports.bind([listener(first), listener(second)])
    assert not answers(second)  # one that comes with a reload stays closed too
    ports.resume()
    assert answers(first)
    assert answers(second)
    assert ports.descriptors([listener(first)]) == [before]  # never closed: a privileged port is not lost
    ports.close()


def test_port_that_somebody_else_took_is_named_and_all_stay_closed() -> None:
    mine, taken = free_port(), free_port()
    ports = Ports()
    ports.bind([listener(mine), listener(taken)])
    ports.pause()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", taken))
        other.listen()
        with pytest.raises(BindFailed, match=f"127.0.0.1:{taken}"):
            ports.resume()
        assert ports.paused
        assert not answers(mine)
    ports.resume()
    assert answers(mine)
    ports.close()
