"""Passwords: the file, its command, and how wrong ones are slowed down."""

import asyncio
import io
import os
import stat
import threading

import argon2
import pytest
from access_visits import OPEN_TO_OURS, Clock, access_of, services_of

from gatepost.cli.main import app
from gatepost.config.schema import Listener
from gatepost.relay import passwords
from gatepost.relay.passwords import (
    ADDRESSES_LIMIT,
    FAILURES_FORGOTTEN_S,
    FAILURES_FREE,
    THREADS,
    FailureLog,
    PasswordFile,
    PasswordFileError,
    parse_passwords,
)
from gatepost.relay.visit import Visit
from gatepost.smtp.server_events import SignIn


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    """The real parameters take a second on a busy machine; the hash says its own, so the file stays the same."""
    monkeypatch.setattr(passwords, "hasher", lambda: argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    monkeypatch.setattr("gatepost.cli.password.hasher", passwords.hasher)


def run(monkeypatch, *arguments, typed="") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    try:
        return app(["password", *map(str, arguments)], result_action="return_value", exit_on_error=False)
    except SystemExit as end:
        return end.code


def test_command(tmp_path, monkeypatch, capsys):
    file = tmp_path / "passwords"
    assert run(monkeypatch, "add", file, "Joe", "--stdin", typed="secret\n") == 0
    assert run(monkeypatch, "add", file, "ann@example.org", "--stdin", typed="other word\n") == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()
    assert run(monkeypatch, "check", file, "joe", "--stdin", typed="secret\n") == 0
    assert run(monkeypatch, "check", file, "joe", "--stdin", typed="Secret\n") == 4
    assert run(monkeypatch, "check", file, "nobody", "--stdin", typed="secret\n") == 4
    file.chmod(0o640)
    assert run(monkeypatch, "add", file, "joe", "--stdin", typed="new\n") == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert run(monkeypatch, "check", file, "joe", "--stdin", typed="new\n") == 0
    assert sorted(parse_passwords(file.read_text())) == ["ann@example.org", "joe"]
    assert run(monkeypatch, "remove", file, "joe") == 4, "nobody has agreed"
    assert sorted(parse_passwords(file.read_text())) == ["ann@example.org", "joe"]
    assert run(monkeypatch, "remove", file, "joe", "--yes") == 0
    assert run(monkeypatch, "remove", file, "joe") == 4
    assert sorted(parse_passwords(file.read_text())) == ["ann@example.org"]
    assert run(monkeypatch, "remove", tmp_path / "none", "joe") == 2
    assert run(monkeypatch, "add", file, "joe", "--stdin", typed="\n") == 1
    assert run(monkeypatch, "add", file, "jo\x07e", "--stdin", typed="x\n") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["passwords"]  # nothing half-written is left
    assert "secret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("joe:plain\n", ":1:"),
        ("# x\n\njoe\n", ":3:"),
        ("joe:$argon2id$x\nJOE:$argon2id$y\n", "twice"),
        (":$argon2id$x\n", "user name"),
    ],
)
def test_faulty_files_are_told_with_their_line(text, what):
    with pytest.raises(PasswordFileError, match=what) as caught:
        parse_passwords(text, "f")
    assert "plain" not in str(caught.value)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "passwords"
    path.write_text(f"joe:{passwords.hasher().hash('secret')}\n")
    return path


def check(users, user, password, address="198.51.100.7"):
    return asyncio.run(users.check(address, user, password))


def test_sign_in(file):
    users = PasswordFile(str(file), FailureLog(), Clock())
    assert check(users, "joe", "secret") is True
    assert check(users, "JOE", "secret") is True
    assert check(users, "joe", "wrong") is False
    assert check(users, "nobody", "secret", "198.51.100.8") is False
    assert check(users, "joe", "x" * 5000, "198.51.100.9") is False


def test_a_right_password_is_checked_the_dear_way_once(file, monkeypatch):
    users, checked = PasswordFile(str(file), FailureLog(), Clock()), []

    def counted(hashed, password):
        checked.append(password)
        return argon2.PasswordHasher().verify(hashed, password)

    monkeypatch.setattr(passwords, "verify", counted)
    assert [check(users, "joe", "secret") for _ in range(5)] == [True] * 5
    assert checked == ["secret"]
    file.write_text(f"joe:{passwords.hasher().hash('secret')}\n")
    os.utime(file, ns=(1, 1))
    assert check(users, "joe", "secret") is True
    assert checked == ["secret"] * 2  # another hash: checked anew


def test_the_file_is_read_anew_and_may_be_out_of_reach(file):
    told = []
    users = PasswordFile(str(file), FailureLog(), Clock(), told.append)
    assert check(users, "joe", "secret") is True
    file.write_text(f"joe:{passwords.hasher().hash('changed')}\n")
    os.utime(file, ns=(1, 1))
    assert check(users, "joe", "secret") is False
    assert check(users, "joe", "changed") is True
    file.write_text("rubbish\n")
    assert [check(users, "joe", "changed") for _ in range(3)] == [None] * 3
    assert len(told) == 1
    assert f"{file}:1" in told[0]
    file.unlink()
    assert check(users, "joe", "changed") is None
    file.write_text("joe:$argon2id$broken\n")
    assert check(users, "joe", "changed") is None


def test_a_file_that_cannot_be_used_changes_nobodys_password_after_a_reload_either(file):
    before = PasswordFile(str(file), FailureLog(), Clock())
    assert check(before, "joe", "secret")
    credential = before.hash_of("joe")
    good = file.read_text()
    file.write_text("no line of a password file\n")
    after = PasswordFile(str(file), FailureLog(), Clock())
    assert [users.has_changed("joe", credential) for users in (before, after)] == [False, False]
    file.write_text(good.replace("joe:", "jim:"))
    assert [users.has_changed("joe", credential) for users in (before, after)] == [True, True]


def test_a_file_that_cannot_be_used_is_read_once_for_all_mail(file, monkeypatch):
    users = PasswordFile(str(file), FailureLog(), Clock())
    assert check(users, "joe", "secret")
    credential = users.hash_of("joe")
    read = []
    monkeypatch.setattr(passwords, "read_passwords", lambda path: (read.append(path), parse_passwords("rubbish"))[1])
    file.write_text("rubbish\n")
    assert [users.has_changed("joe", credential) for _ in range(5)] == [False] * 5
    assert check(users, "joe", "secret") is None
    assert len(read) == 1


def test_who_guesses_has_to_wait(file):
    clock = Clock()
    users = PasswordFile(str(file), FailureLog(), clock)
    assert [check(users, "joe", "guess") for _ in range(FAILURES_FREE + 1)] == [False] * FAILURES_FREE + [None]
    assert check(users, "joe", "secret") is None  # even the right one, or guessing would go on
    assert check(users, "joe", "secret", "203.0.113.9") is True  # others are not concerned
    clock.now += 2
    assert check(users, "joe", "guess") is False
    clock.now += 2
    assert check(users, "joe", "secret") is None  # twice as long now
    clock.now += 2
    assert check(users, "joe", "secret") is True
    assert [check(users, "joe", "guess") for _ in range(2)] == [False, False]  # forgiven


def test_guessing_at_the_same_time_brings_no_more_guesses(file):
    users = PasswordFile(str(file), FailureLog(), Clock())

    async def story():
        return await asyncio.gather(*(users.check("198.51.100.7", "joe", f"guess {n}") for n in range(30)))

    answers = asyncio.run(story())
    assert answers.count(False) <= FAILURES_FREE + THREADS - 1  # those that had begun when the last free one was known
    assert answers.count(None) == 30 - answers.count(False)


def test_who_can_choose_among_addresses_is_one_guesser(file):
    access = access_of(f"[access]\n{OPEN_TO_OURS}password_file = '{file}'\n")

    def guess(ip, password="guess"):
        return asyncio.run(access.sign_in(Visit(ip, 1, Listener()), "joe", password))

    assert [guess(f"2001:db8::{n}") for n in range(FAILURES_FREE + 1)] == [False] * FAILURES_FREE + [None]
    assert guess("2001:db8:0:1::1", "secret") is True


def test_failures_are_forgotten_and_bounded():
    log = FailureLog()
    for n in range(ADDRESSES_LIMIT + 10):
        for _ in range(FAILURES_FREE):
            log.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    assert not log.blocked("10.0.0.0", 1.0)
    assert log.blocked("10.0.39.0", 1.0)
    log.failed("10.0.39.0", FAILURES_FORGOTTEN_S + 1)
    assert not log.blocked("10.0.39.0", FAILURES_FORGOTTEN_S + 2)


def test_threads_are_not_queued_for_without_end(file, monkeypatch):
    monkeypatch.setattr(passwords, "WAITING_LIMIT", 2)
    users = PasswordFile(str(file), FailureLog(), Clock())
    asked = threading.Event()
    monkeypatch.setattr(users, "_is_right", lambda *_: asked.wait(120))

    async def story():
        tasks = [asyncio.create_task(users.check(f"198.51.100.{n}", "joe", "secret")) for n in range(4)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        asked.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(story()) == [True, True, None, None]


def test_access_notes_who_signed_in(file):
    services = services_of()
    access = access_of(f"[access]\n{OPEN_TO_OURS}password_file = '{file}'\n", services=services)
    visit = Visit("198.51.100.7", 1, Listener())
    assert asyncio.run(access.sign_in(visit, "joe", "wrong")) is False
    assert visit.user == ""
    assert asyncio.run(access.sign_in(visit, "joe", "secret")) is True
    assert visit.user == "joe"
    assert visit.ours
    without = access_of(f"[access]\n{OPEN_TO_OURS}")
    assert asyncio.run(without.sign_in(visit, "joe", "secret")) is None


def test_no_text_shows_a_password():
    assert "secret" not in repr(SignIn("joe", "secret", "PLAIN"))
