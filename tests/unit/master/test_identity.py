"""Whom the gateway becomes: in a child of the test, which only root can run."""

import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatepost.master.exit_code import ExitCode, StartError
from gatepost.master.identity import become

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
USER = "nobody"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def in_child(work: Callable[[], None]) -> int:
    """Return the exit status of a child that does the work: 0, or 1 for any exception, or a start's code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        work()
        status = 0
    except StartError as error:
        status = error.code
    finally:
        os._exit(status)


def test_it_becomes_the_user_for_good_and_keeps_one_capability(place: Path) -> None:
    told = place / "told"
    told.touch()
    told.chmod(0o666)

    def work() -> None:
        become(USER, [place / "a" / "state"], [place / "log" / "gatepost.log"])
        lines = Path("/proc/self/status").read_text().splitlines()
        told.write_text("\n".join(line for line in lines if line.startswith(("Uid", "Gid", "Cap"))))
        (place / "a" / "state" / "file").touch()
        (place / "log" / "gatepost.log").write_text("a line")
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise AssertionError("root could be taken back")

    assert in_child(work) == 0
    facts = dict(line.split(":\t", 1) for line in told.read_text().splitlines())
    who = pwd.getpwnam(USER)
    assert set(facts["Uid"].split()) == {str(who.pw_uid)}
    assert set(facts["Gid"].split()) == {str(who.pw_gid)}
    assert {int(facts[name], 16) for name in ("CapEff", "CapPrm")} <= {1 << 10, 0}
    assert int(facts["CapAmb"], 16) == 0


def test_root_that_is_asked_for_keeps_what_makes_filters_another_user(place: Path) -> None:
    """A gateway told to run as root has to be able to start filters, which never do."""

    def work() -> None:
        become("root", [place / "a" / "state"], [place / "log" / "gatepost.log"])
        os.setgroups([])
        os.setresuid(*[pwd.getpwnam(USER).pw_uid] * 3)

    assert in_child(work) == 0


def test_what_is_there_is_given_to_the_user_but_not_what_links_lead_to(place: Path) -> None:
    state, other = place / "a" / "state", place / "other"
    state.mkdir(parents=True)
    other.touch()
    (state / "link").symlink_to(other)
    (state / "queue").mkdir()
    (place / "log").mkdir()
    assert in_child(lambda: become(USER, [state], [place / "log" / "gatepost.log"])) == 0
    uid = pwd.getpwnam(USER).pw_uid
    assert {path.lstat().st_uid for path in (state, *state.iterdir(), place / "log" / "gatepost.log")} == {uid}
    assert {path.stat().st_uid for path in (other, place / "log")} == {0}


def test_what_must_not_be_given_away(place: Path) -> None:
    target = place / "target"
    target.touch()
    (place / "log").symlink_to(target)
    assert in_child(lambda: become(USER, [Path("/var")], [])) == ExitCode.IDENTITY
    assert in_child(lambda: become(USER, [], [place / "log"])) == ExitCode.IDENTITY
    assert target.stat().st_uid == 0
    assert in_child(lambda: become("no-such-user-here", [], [])) == ExitCode.IDENTITY
