"""Ports are closed and opened again without being given away."""

import os
import socket
from pathlib import Path

import pytest
from tests.peers.conftest import open_directory
from tests.support.ports import free_port

from gatepost.config.doors import Door
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


def door(path: Path) -> Door:
    return Door(name="d", address=f"unix:{path}", socket=str(path))


def answers_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.mark.parametrize("instead", ["nothing", "left-over"])
def test_a_local_socket_that_somebody_removed_is_there_again_after_a_reload(tmp_path: Path, instead: str) -> None:
    path = tmp_path / "s"
    ports = Ports()
    ports.bind([], [door(path)])
    (before,) = ports.descriptors([], [door(path)])
    ports.bind([], [door(path)])
    assert ports.descriptors([], [door(path)]) == [before], "what is there stays"
    path.unlink()
    if instead == "left-over":
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert not answers_at(path)
    ports.bind([], [door(path)])
    assert answers_at(path)
    ports.close()
    assert not path.exists()


def test_a_local_socket_that_another_program_took_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    ports = Ports()
    ports.bind([], [door(path)])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(BindFailed, match="A program listens there"):
            ports.bind([], [door(path)])
        ports.close()
        assert answers_at(path)


def test_why_a_local_socket_cannot_be_made_is_said(tmp_path: Path) -> None:
    ports = Ports()
    with pytest.raises(BindFailed, match=f"install -d -o USER {tmp_path}/none"):
        ports.bind([], [door(tmp_path / "none/s")])
    for name, make in (("file", Path.touch), ("link", lambda path: path.symlink_to("elsewhere"))):
        make(tmp_path / name)
        with pytest.raises(BindFailed, match="is no socket, and is not removed"):
            ports.bind([], [door(tmp_path / name)])
        assert (tmp_path / name).lstat()


def test_a_socket_that_may_not_be_asked_and_a_directory_that_may_not_be_written_are_named() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who may do less")
    with open_directory("ports") as base, socket.socket(socket.AF_UNIX) as other:
        for name, mode in (("shut", 0o755), ("theirs", 0o777)):
            (base / name).mkdir()
            (base / name).chmod(mode)
        other.bind(str(base / "theirs/s"))
        (base / "theirs/s").chmod(0o700)
        os.seteuid(65534)
        try:
            with pytest.raises(BindFailed, match=f"able to write in {base}/shut"):
                Ports().bind([], [door(base / "shut/s")])
            with pytest.raises(BindFailed, match="A socket of user 0 is there, and may not be asked"):
                Ports().bind([], [door(base / "theirs/s")])
        finally:
            os.seteuid(0)
