"""The pid file: locked by its process, taken over when that is gone, never made of a file of another kind."""

import os
import resource
from pathlib import Path

import pytest

from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.pid_file import PidFile, read_pid


def code_of(path: Path) -> int:
    with pytest.raises(StartError) as caught:
        PidFile.take(path)
    return caught.value.code


def test_one_process_holds_it_until_it_releases(tmp_path: Path) -> None:
    path = tmp_path / "made" / "gatepost.pid"
    first = PidFile.take(path)
    first.write(os.getpid())
    assert read_pid(path) == os.getpid()
    assert code_of(path) == ExitCode.PID_FILE_EXISTS
    first.release()
    assert not path.exists()
    PidFile.take(path).release()


def test_a_file_left_by_a_dead_process_is_taken_over_even_when_its_number_lives(tmp_path: Path) -> None:
    path = tmp_path / "gatepost.pid"
    path.write_text(f"{os.getppid()}\n")  # somebody else has the number now
    held = PidFile.take(path)
    held.write(7)
    assert read_pid(path) == 7
    held.release()


def test_a_child_that_forgets_it_does_not_release_it(tmp_path: Path) -> None:
    path = tmp_path / "gatepost.pid"
    held = PidFile.take(path)
    pid = os.fork()
    if pid == 0:
        held.forget()
        os._exit(0)
    os.waitpid(pid, 0)
    assert code_of(path) == ExitCode.PID_FILE_EXISTS
    held.release()


def test_what_cannot_be_a_pid_file_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "document"
    document.write_text("not a number\n")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    for path in (document, link, tmp_path, tmp_path / "file" / "below"):
        assert code_of(path) == ExitCode.PID_FILE, path
    assert document.read_text() == "not a number\n"
    assert not (tmp_path / "elsewhere").exists()


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    held = PidFile.take(tmp_path / "gatepost.pid")
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            held.write(1)
        except StartError as error:
            os._exit(error.code)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ExitCode.PID_FILE
    held.release()


def test_no_file_has_no_number(tmp_path: Path) -> None:
    assert read_pid(tmp_path / "none") == 0
