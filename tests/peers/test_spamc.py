"""spamc asks our spamd door, and spamd itself with one rule: the same words, the same exit codes."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import open_directory, program
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling
from tests.support.waiting import wait_for

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Mark, Request, Ruling
from gatepost.service import spamd_door
from gatepost.service.judge import Unjudged

SPAM = b"Subject: noise\n\nbody\n"
WANTED = b"Subject: hello\n\nbody\n"
RULES = """\
header SUBJECT_NOISE Subject =~ /noise/
describe SUBJECT_NOISE Noise in the subject
score SUBJECT_NOISE 5.0
use_bayes 0
report_safe 0
add_header all Status _YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_
add_header spam Flag _YESNOCAPS_
report Content analysis details:   (_SCORE_ points, _REQD_ required)
report
report " pts rule name              description"
report  ---- ---------------------- --------------------------------------------------
report _SUMMARY_
"""


def decide(_: Request, content: bytes) -> Ruling | Exception:
    if b"trouble" in content:
        return Unjudged("no filter")
    if b"noise" in content:
        return ruling(status="spam", rate=99, marks=(Mark("subject-noise", 5.0, "Noise in the subject"),))
    return ruling(status="not_detected")


@pytest.fixture(scope="module")
def original() -> Iterator[int]:
    """The port of a spamd with one rule."""
    command, spamc = program("spamd"), program("spamc")
    port = free_port()
    with open_directory("spamd") as place, (place / "log").open("wb") as log:
        (place / "10.cf").write_text(RULES)
        (place / "init.pre").write_text("loadplugin Mail::SpamAssassin::Plugin::Check\n")
        process = subprocess.Popen(
            [command, "-L", "-x", "-l", "-m", "1", "--min-children=1", "--max-spare=1", "-u", "nobody", "-i", "127.0.0.1", "-p", str(port),
             f"--configpath={place}", f"--siteconfigpath={place}", "-s", "stderr"],
            stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        try:
            wait_for(lambda: run(spamc, port, b"", "-K").returncode == 0, "spamd")
            yield port
        finally:
            process.terminate()
            process.wait(120)


@pytest.fixture(scope="module")
def ours() -> Iterator[ListeningDoor]:
    async def learn(content: bytes, spam: bool | None) -> str:
        return "known" if b"hello" in content else ""

    with ListeningDoor(
        spamd_door.make, ScriptedJudge(decide), Door(name="sa", kind=DoorKind.SPAMD, learning=True), learn=learn
    ) as door:
        yield door


def run(spamc: str, port: int, mail: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    """`-x`: its exit code is the server's, instead of the mail unchanged."""
    command = [spamc, "-x", "-d", "127.0.0.1", "-p", str(port), *options]
    return subprocess.run(command, input=mail, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("mail", [SPAM, WANTED], ids=["spam", "wanted"])
@pytest.mark.parametrize("option", ["-K", "-c", "-y", "-E"])
def test_word_for_word(original, ours, option, mail):
    spamc = program("spamc")
    theirs, said = run(spamc, original, mail, option), run(spamc, ours.port, mail, option)
    if mail == WANTED and option == "-c":
        assert re.fullmatch(rb"-?\d\.\d/5\.0\n", theirs.stdout)  # a mail without signs has no points here
        assert said.stdout == b"0.0/5.0\n"
    elif option != "-E":
        assert said.stdout == theirs.stdout
    assert said.returncode == theirs.returncode


@pytest.mark.parametrize("option", ["-R", "-r"])
def test_reports_have_the_same_table(original, ours, option):
    spamc = program("spamc")
    table = re.compile(rb"Content analysis details:   \(5\.0 points, 5\.0 required\)\s+pts rule name +description\n ?---- -+ -+\n ?5\.0 SUBJECT_NOISE +Noise in the subject", re.ASCII)  # fmt: skip
    for port in (original, ours.port):
        said = run(spamc, port, SPAM, option)
        assert said.returncode == 0
        assert table.search(said.stdout), said.stdout
        assert said.stdout.startswith(b"5.0/5.0\n") == (option == "-R")


@pytest.mark.parametrize("option", ["--headers", ""])
def test_rules_behind_it_find_their_fields(original, ours, option):
    spamc = program("spamc")
    for port in (original, ours.port):
        for mail in (SPAM, SPAM.replace(b"\n", b"\r\n")):
            said = run(spamc, port, mail, *filter(None, [option])).stdout
            assert said.endswith(mail)
            header = said.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
            assert b"\nX-Spam-Flag: YES\n" in header
            assert re.search(
                rb"^X-Spam-Status: Yes, score=5\.0 required=5\.0\s+tests=SUBJECT_NOISE", header, re.MULTILINE
            )
        said = run(spamc, port, WANTED, *filter(None, [option])).stdout
        assert b"X-Spam-Flag" not in said
        assert b"X-Spam-Status: No, score=" in said


def test_learning(ours):
    spamc = program("spamc")
    assert run(spamc, ours.port, SPAM, "-L", "spam").stdout == b"Message successfully un/learned\n"
    assert run(spamc, ours.port, SPAM, "-L", "forget").stdout == b"Message successfully un/learned\n"
    assert run(spamc, ours.port, WANTED, "-L", "ham").stdout == b"Message was already un/learned\n"


def test_what_cannot_be_judged_is_a_failure_for_spamc(ours):
    spamc = program("spamc")
    trouble = b"Subject: trouble\n\nbody\n"
    for option in ("", "-c", "-R", "-y", "--headers"):
        failed = run(spamc, ours.port, trouble, *filter(None, [option]))
        assert failed.returncode == 74, "what spamc makes of any answer that is none (EX_IOERR)"
    passed = subprocess.run(
        [spamc, "-d", "127.0.0.1", "-p", str(ours.port)], input=trouble, capture_output=True, timeout=120, check=False
    )
    assert (passed.returncode, passed.stdout) == (0, trouble), "without -x spamc passes the mail on as it is"
    assert OnError.TEMPFAIL is Door().on_error


def test_over_a_local_socket(tmp_path: Path):
    with ListeningDoor(spamd_door.make, ScriptedJudge(decide), path=tmp_path / "s") as door:
        said = subprocess.run(
            [program("spamc"), "-x", "-U", str(door.path), "-c"],
            input=SPAM,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert said.stdout == b"5.0/5.0\n"
