"""rspamc asks our rspamd door; what it prints has the form it has with rspamd 3.4 itself."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import program
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling

from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import FieldEdit, FieldOp, Mark, Request, Ruling
from gatepost.service import rspamd_door

MAIL = b"Subject: noise\nMessage-ID: <1@example.com>\n\nbody\n"


def decide(_: Request, content: bytes) -> Ruling:
    if b"noise" not in content:
        return ruling(status="not_detected")
    return ruling(
        status="spam", rate=99, marks=(Mark("subject-noise", 6.5, "Noise"),), field_edits=(FieldEdit(FieldOp.CHANGE, "Subject", b"[SPAM] noise"),)
    )  # fmt: skip


@pytest.fixture(scope="module")
def door() -> Iterator[ListeningDoor]:
    async def learn(content: bytes, spam: bool | None) -> str:
        return "learned before" if b"hello" in content else ""

    with ListeningDoor(
        rspamd_door.make, ScriptedJudge(decide), Door(name="rs", kind=DoorKind.RSPAMD, learning=True), learn=learn
    ) as opened:
        yield opened


def run(door: ListeningDoor, tmp_path: Path, *options: str, mail: bytes = MAIL) -> str:
    file = tmp_path / "mail"
    file.write_bytes(mail)
    command = [program("rspamc"), "-h", f"127.0.0.1:{door.port}", *options]
    if options[-1:] != ("stat",):
        command.append(str(file))
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_a_mail(door, tmp_path):
    envelope = (
        "-F",
        "a@example.com",
        "-r",
        "b@example.org",
        "-r",
        "c@example.org",
        "-i",
        "192.0.2.1",
        "--helo",
        "h.example",
    )
    told = run(door, tmp_path, *envelope)
    assert re.fullmatch(
        r"Results for file: \S+ \([0-9.e-]+ seconds\)\n\[Metric: default\]\nAction: rewrite subject\nSpam: true\nSubject: \[SPAM\] noise\nScore: 15\.00 / 15\.00\n"
        r"Symbol: SUBJECT_NOISE \(6\.50\)\nMessage-ID: 1@example\.com\nUrls: \[\]\nEmails: \[\]\n\n",
        told,
    ), told
    asked = door.judge.last
    assert asked.content == MAIL.replace(b"\n", b"\r\n")
    assert (asked.request.sender, asked.request.recipients) == ("a@example.com", ("b@example.org", "c@example.org"))
    assert (asked.request.client.ip, asked.request.client.helo) == ("192.0.2.1", "h.example")


def test_wanted(door, tmp_path):
    told = run(door, tmp_path, mail=b"Subject: x\n\nbody\n")
    assert "Action: no action\nSpam: false\nScore: 0.00 / 15.00\nMessage-ID: undef\n" in told


def test_json_and_compressed(door, tmp_path):
    told = json.loads(run(door, tmp_path, "--json", "--compressed"))
    assert (told["action"], told["subject"], told["symbols"]["SUBJECT_NOISE"]["score"]) == (
        "rewrite subject",
        "[SPAM] noise",
        6.5,
    )
    assert door.judge.last.content == MAIL.replace(b"\n", b"\r\n")


def test_the_mail_with_its_fields(door, tmp_path):
    told = run(door, tmp_path, "--mime")
    assert "\nX-Spam-Action: rewrite subject\n" in told.replace("\r\n", "\n")
    assert "X-Spam-Symbols: SUBJECT_NOISE" in told


def test_learning(door, tmp_path):
    assert "success = true;" in run(door, tmp_path, "learn_spam")
    assert "success = true;" in run(door, tmp_path, "learn_ham")
    assert 'error = "learned before";' in run(door, tmp_path, "learn_ham", mail=b"Subject: hello\n\nx\n")


def test_statistics(door, tmp_path):
    told = run(door, tmp_path, "stat")
    assert re.search(r"Messages with action rewrite subject: [1-9]", told)
    assert "Messages learned: " in told


def test_what_there_is_not_is_an_error_and_no_crash(door):
    command = [program("rspamc"), "-h", f"127.0.0.1:{door.port}", "uptime"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 1, done.returncode
    assert "HTTP error: 404" in done.stdout.decode()
