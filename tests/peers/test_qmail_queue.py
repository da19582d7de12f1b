"""The qmail client as it is installed: a compiled program with mode 4755 in place of qmail-queue, the original behind it."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.peers.conftest import open_directory, root_program
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling

from gatepost.client.setup.qmail import MODE, build_program
from gatepost.model.filtering import Deed
from gatepost.model.reply import reply
from gatepost.service import filter_door

QUEUE_OWNER, CALLER = 65534, 1
"""Users: whose queue it is, and who sends mail."""
MAIL = b"Subject: hello\n\nbody\n"
ENVELOPE = b"Fs@example.net\0Ta@example.org\0\0"
SYSTEM_PYTHON = "/usr/bin/python3"
INTERPRETER = f"""#!{SYSTEM_PYTHON} -I
import sys
sys.path[:0] = {[each for each in sys.path if each.startswith("/")]!r}
from gatepost.client.program import main
assert sys.argv[1:4] == ["-I", "-m", "gatepost.client"], sys.argv
sys.exit(main(sys.argv[4:]))
"""
"""In place of an interpreter that lies where only root sees it, as those of developers often do."""
ORIGINAL = """#!{python} -I
import json, os
facts = {{
    "message": os.read(0, 9999).decode(), "envelope": os.read(1, 9999).decode(), "ids": [os.getuid(), os.geteuid()],
    "environment": dict(os.environ), "descriptors": [n for n in range(3, 600) if os.path.exists(f"/proc/self/fd/{{n}}")],
}}
with open("{place}/queued.new", "w") as file:
    json.dump(facts, file)
os.rename("{place}/queued.new", "{place}/queued")
"""


class Installed(NamedTuple):
    place: Path
    program: Path
    door: ListeningDoor

    def send(self, envelope: bytes = ENVELOPE, **more: Any) -> int:
        """Send as qmail's programs do, as an ordinary user with an environment of his choice."""
        message_out, message_in = os.pipe()
        envelope_out, envelope_in = os.pipe()
        try:
            os.write(message_in, MAIL)
            os.write(envelope_in, envelope)
            os.close(message_in)
            os.close(envelope_in)
            process = subprocess.Popen(
                [self.program], stdin=message_out, stdout=envelope_out, stderr=subprocess.DEVNULL,
                user=CALLER, group=CALLER, extra_groups=[], **more,
            )  # fmt: skip
        finally:
            os.close(message_out)
            os.close(envelope_out)
        return process.wait(120)

    def queued(self) -> dict[str, Any]:
        """Take what the original program got."""
        path = self.place / "queued"
        facts: dict[str, Any] = json.loads(path.read_text())
        path.unlink()
        return facts


ABOVE_LIMIT = 500
"""A descriptor that was opened while the limit was higher."""


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    root_program("cc")
    version = subprocess.run([SYSTEM_PYTHON, "-V"], capture_output=True, text=True, check=True).stdout.split(".")[:2]
    if version != [f"Python {sys.version_info.major}", f"{sys.version_info.minor}"]:
        pytest.skip("the system's Python is another than this one")
    with (
        open_directory("qmail") as place,
        ListeningDoor(filter_door.make, ScriptedJudge()) as door,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        os.chown(place, QUEUE_OWNER, QUEUE_OWNER)
        original = place / "qmail-queue.orig"
        original.write_text(ORIGINAL.format(python=SYSTEM_PYTHON, place=place))
        original.chmod(0o755)
        settings = place / "client.toml"
        settings.write_text(f'client_connect_to = "tcp:127.0.0.1:{door.port}"\nq_mail_original_queue = "{original}"\n')
        settings.chmod(0o600)
        os.chown(settings, QUEUE_OWNER, QUEUE_OWNER)
        program = place / "qmail-queue"
        interpreter = place / "python"
        interpreter.write_text(INTERPRETER)
        interpreter.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(interpreter))
        program.write_bytes(build_program(settings))
        os.chown(program, QUEUE_OWNER, QUEUE_OWNER)
        program.chmod(MODE)
        yield Installed(place, program, door)


@pytest.mark.feature("F-CLI-06")
def test_mail_of_a_user_is_filtered_with_the_rights_of_the_queue(installed: Installed) -> None:
    installed.door.judge.answer = ruling(recipients=("a@example.org",), prefix=b"X-Spam: yes\r\n")
    assert installed.program.stat().st_mode & 0o7777 == 0o4755
    assert installed.send() == 0
    facts = installed.queued()
    assert facts["message"].encode() == b"X-Spam: yes\n" + MAIL
    assert facts["envelope"].encode() == ENVELOPE
    assert facts["ids"] == [CALLER, QUEUE_OWNER], "the original notes who has sent it"
    installed.door.judge.answer = ruling(
        recipients=("a@example.org",), deed=Deed.REJECT, reply=reply(550, "5.7.1", "No")
    )
    assert installed.send() == 31
    assert not (installed.place / "queued").exists()


def _lower_the_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (ABOVE_LIMIT // 2, ABOVE_LIMIT // 2))


def test_the_caller_has_no_say(installed: Installed, tmp_path: Path) -> None:
    installed.door.judge.answer = ruling(recipients=("a@example.org",))
    trap = installed.place / "trap"
    trap.mkdir()
    trap.chmod(0o777)
    for name in ("gatepost.py", "sitecustomize.py", "usercustomize.py"):
        (trap / name).write_text("import os; os._exit(99)\n")
    (trap / "client.toml").write_text('q_mail_original_queue = "/bin/false"\n')
    environment = {
        "PYTHONPATH": str(trap), "PYTHONHOME": str(trap), "PYTHONSTARTUP": str(trap / "gatepost.py"),
        "PYTHONUSERBASE": str(trap), "HOME": str(trap), "LD_PRELOAD": str(trap / "x.so"), "TMPDIR": str(trap), "PATH": str(trap),
        "GATEPOST_CLIENT_SETTINGS": str(trap / "client.toml"), "TCPREMOTEIP": "192.0.2.9", "LC_ALL": "x" * 99_999,
    }  # fmt: skip
    read, write = os.pipe()
    above = os.dup2(read, ABOVE_LIMIT)
    try:
        assert (
            installed.send(env=environment, cwd=trap, pass_fds=(read, write, above), preexec_fn=_lower_the_limit) == 0
        )
    finally:
        for descriptor in (read, write, above):
            os.close(descriptor)
    facts = installed.queued()
    assert facts["environment"] == {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TCPREMOTEIP": "192.0.2.9"}
    assert facts["descriptors"] in ([], [3]), "3 is the one it looks at them with"
    assert installed.door.judge.last.request.client.ip == "", "only the SMTP daemon's word on its client is believed"


def test_a_closed_descriptor_is_no_mail(installed: Installed) -> None:
    for number in (0, 1):
        script = f"import os; os.close({number}); os.execv('{installed.program}', ['qmail-queue'])"
        done = subprocess.run([SYSTEM_PYTHON, "-c", script], check=False, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode in {54, 91}, "whoever fills the place, it is a temporary failure"
    assert not (installed.place / "queued").exists()
