"""Disks, ports, certificates, clock, memory and names, each with what is wrong and how to mend it."""

import asyncio
import datetime as dt
import errno
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.certificates import Authority
from tests.support.dns import StubDns

from gatepost.antispam.ocr import language_data
from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.doctor import disks, machine
from gatepost.doctor.certificates import LAST_DAYS, SOON_DAYS, check_certificate, check_certificates
from gatepost.doctor.disks import check_disks
from gatepost.doctor.finding import Finding, State
from gatepost.doctor.machine import check_clock, check_memory, check_open_files, check_walls, read_available
from gatepost.doctor.names import check_names, judge_host, judge_resolver
from gatepost.doctor.ports import check_ports, parse_listening
from gatepost.doctor.recognition import check_recognition
from gatepost.resolver.answers import Answer, Outcome


def config_of(tmp_path: Path, listen: str = "127.0.0.1:2525", more: str = "") -> Config:
    loaded = load_text(
        f"""
[relay]
state_path = "{tmp_path}"
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
listen_on = ["{listen}"]
{more}
""",
        str(tmp_path / "gatepost.toml"),
    )
    assert loaded.config is not None, loaded.errors
    return loaded.config


def bad(findings: list[Finding]) -> dict[str, State]:
    return {each.key: each.state for each in findings if each.state is not State.OK}


# --- disks


def test_directories(tmp_path: Path) -> None:
    config = config_of(tmp_path / "state")
    queue = Path(config.path.queue_path)
    queue.mkdir(parents=True)
    assert f"space:{queue}" in {each.key for each in check_disks(config)}
    queue.chmod(0o777)
    assert bad(list(check_disks(config))) == {f"directory:{queue}": State.ERROR}
    queue.rmdir()
    queue.touch()
    assert bad(list(check_disks(config))) == {f"directory:{queue}": State.ERROR}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_a_file_system_that_fell_read_only_is_found_though_it_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As ext4 does after an error: what statvfs tells stays as it was, and every file is refused."""
    really = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, os.strerror(number))
        return really(path, flags, *more, **named)

    key = f"directory:{tmp_path}"
    config = config_of(tmp_path)
    assert {each.key: each.state for each in check_disks(config)}[key] is State.OK
    monkeypatch.setattr(os, "open", refuse)
    found = {each.key: each for each in check_disks(config)}[key]
    assert found.state is State.ERROR
    assert "cannot be written" in found.text
    assert "fsck" in found.mend


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_directory_of_another_user_is_found_by_root(tmp_path: Path) -> None:
    config = config_of(tmp_path / "state")
    queue = Path(config.path.queue_path)
    queue.mkdir(mode=0o700, parents=True)
    os.chown(tmp_path / "state", 65534, 65534)
    assert bad(list(check_disks(config))) == {f"directory:{queue}": State.ERROR}
    os.chown(queue, 65534, 65534)
    assert not bad(list(check_disks(config)))


def test_a_disk_of_trackings_own_is_looked_at_where_tracking_is_kept(tmp_path: Path) -> None:
    config = config_of(tmp_path / "state")
    tracking = tmp_path / "state" / "tracking"
    tracking.mkdir(parents=True)
    tracking.chmod(0o777)
    assert bad(list(check_disks(config))) == {f"directory:{tracking}": State.ERROR}
    off = msgspec.structs.replace(config, tracking=msgspec.structs.replace(config.tracking, enabled=False))
    assert not bad(list(check_disks(off)))


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path / "state")
    Path(config.path.queue_path).mkdir(parents=True)
    key = f"space:{config.path.queue_path}"
    for free, state in (
        (disks.SHORT_BYTES, State.OK),
        (disks.SHORT_BYTES - 1, State.WARNING),
        (disks.SCARCE_BYTES, State.WARNING),
        (disks.SCARCE_BYTES - 1, State.ERROR),
    ):
        values = (1, 1, free, free, free, 10**6, 10**6, 10**6, 0, 255)
        monkeypatch.setattr(os, "statvfs", lambda _, values=values: os.statvfs_result(values))
        assert {each.key: each.state for each in check_disks(config)}[key] is state, free
    reserve = msgspec.structs.replace(config.limits, minimal_queue_free_space_size=10 * disks.SHORT_BYTES)
    full = msgspec.structs.replace(config, limits=reserve)
    assert {each.key: each.state for each in check_disks(full)}[key] is State.ERROR
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((1, 1, 10**12, 10**12, 10**12, 10**6, 5, 5, 0, 255)))
    assert bad(list(check_disks(config)))[f"inodes:{tmp_path / 'state'}"] is State.ERROR


# --- ports

TABLE = """\
   0: 0100007F:09DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:09DE 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 00000000000000000000000001000000:0019 0:0 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 1 0 0 10 0
"""


def test_the_kernels_table() -> None:
    found = [(each.address, each.port, each.inode) for each in parse_listening(TABLE.splitlines())]
    assert found == [("127.0.0.1", 2525, 4711), ("::1", 25, 4713)]


def test_ports(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        config = config_of(tmp_path, f"127.0.0.1:{holder.getsockname()[1]}")
        (taken,) = check_ports(config, running=False)
        assert taken.state is State.ERROR
        assert f"(process {os.getpid()})" in taken.text
        assert [each.state for each in check_ports(config, running=True)] == [State.OK]
    assert [each.state for each in check_ports(config, running=True)] == [State.ERROR]
    assert not list(check_ports(config, running=True, receiving=False)), "reception is switched off"
    assert [each.state for each in check_ports(config, running=False)] == [State.OK]
    (nowhere,) = check_ports(config_of(tmp_path, "192.0.2.1:25"), running=False)
    assert (nowhere.state, "192.0.2.1:25" in nowhere.text) == (State.ERROR, True)


# --- certificates


def test_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    made = authority.issue("gw.example.org")
    cert, key = made.chain, made.key
    key.chmod(0o600)
    end = made.value.not_valid_after_utc.timestamp()
    day = 86400

    def states(now: float, name: str = "gw.example.org") -> dict[str, State]:
        return bad(list(check_certificate(cert, key, name, now)))

    assert states(end - (SOON_DAYS + 1) * day) == {}
    assert states(end - SOON_DAYS * day) == {f"certificate:{cert}": State.WARNING}
    assert states(end - LAST_DAYS * day) == {f"certificate:{cert}": State.ERROR}
    assert states(end + 1) == {f"certificate:{cert}": State.ERROR}
    assert states(0) == {f"certificate:{cert}": State.ERROR}, "it is not good yet"
    good = end - (SOON_DAYS + 1) * day
    assert states(good, "other.example.net") == {f"names:{cert}": State.WARNING}
    key.chmod(0o644)
    assert states(good) == {f"key:{key}": State.WARNING}
    key.chmod(0o600)
    other = authority.issue("gw.example.org").key
    other.chmod(0o600)
    assert bad(list(check_certificate(cert, other, "gw.example.org", good))) == {f"key:{other}": State.ERROR}
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN")
    assert bad(list(check_certificate(junk, key, "", good))) == {f"certificate:{junk}": State.ERROR}
    assert bad(list(check_certificate(tmp_path / "none", key, "", good))) == {
        f"certificate:{tmp_path / 'none'}": State.ERROR
    }
    assert bad(list(check_certificate(cert, junk, "", good))) == {f"key:{junk}": State.ERROR}


def test_every_certificate_that_is_shown_and_every_authority_is_looked_at(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    made = {name: authority.issue("gw.example.org", days=(-9, -1)) for name in ("network", "client", "policy", "pages")}
    console, ca, day = authority.issue("gw.example.org", days=(-9, -1)), tmp_path / "ca.pem", 86400
    ca.write_bytes(authority.file.read_bytes())

    def pair(name: str, cert: str = "tls_cert", key: str = "tls_key") -> str:
        return f'{cert} = "{made[name].chain}"\n{key} = "{made[name].key}"\n'

    more = (
        f'{pair("network")}[tls]\nca_file = "{ca}"\n{pair("client", "client_cert", "client_key")}'
        f'[[tls_policy]]\ndestinations = ["a.example"]\n{pair("policy", "client_cert", "client_key")}'
        f"[user_quarantine]\nenabled = true\n{pair('pages')}"
        f'[console]\nenabled = %s\ntls_cert = "{console.chain}"\ntls_key = "{console.key}"\n'
    )
    expired = {f"certificate:{each.chain}": State.ERROR for each in made.values()}
    now = time.time()
    assert bad(list(check_certificates(config_of(tmp_path, more=more % "false"), now))) == expired
    config = config_of(tmp_path, more=more % "true")
    assert bad(list(check_certificates(config, now))) == expired | {f"certificate:{console.chain}": State.ERROR}
    end = authority.certificate.not_valid_after_utc.timestamp()
    told = {at: [each for each in check_certificates(config, at) if each.key == f"authorities:{ca}"] for at in
            (end - (SOON_DAYS + 1) * day, end - SOON_DAYS * day, end + 1)}  # fmt: skip
    assert [[each.state for each in found] for found in told.values()] == [[], [State.WARNING], [State.ERROR]]
    assert "no authority in it is good any more" in told[end + 1][0].text
    ca.write_bytes(authority.issue("longer", days=(-1, 800)).chain.read_bytes())
    assert f"authorities:{ca}" not in bad(list(check_certificates(config, end - SOON_DAYS * day))), "one is enough"
    ca.unlink()
    assert bad(list(check_certificates(config, now)))[f"authorities:{ca}"] is State.ERROR


def test_a_certificate_that_pages_show_too_is_still_to_be_made_out_to_the_gateway(tmp_path: Path) -> None:
    made = Authority(tmp_path / "ca").issue("console.example.org")
    made.key.chmod(0o600)
    pair = f'tls_cert = "{made.chain}"\ntls_key = "{made.key}"\n'
    config = config_of(tmp_path, more=f"{pair}[console]\nenabled = true\n{pair}")
    assert bad(list(check_certificates(config, time.time()))) == {f"names:{made.chain}": State.WARNING}


# --- the host


def test_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = dt.datetime(2026, 6, 10, tzinfo=dt.UTC).timestamp()
    monkeypatch.setattr(machine, "_clock_status", lambda: 0)
    assert [each.state for each in check_clock(now)] == [State.OK]
    monkeypatch.setattr(machine, "_clock_status", lambda: 0x40)
    assert [each.state for each in check_clock(now)] == [State.WARNING]
    monkeypatch.setattr(machine, "_clock_status", lambda: None)
    assert [each.state for each in check_clock(now)] == [State.OK]
    assert [each.state for each in check_clock(0)] == [State.ERROR]


def test_the_kernel_answers() -> None:
    assert machine._clock_status() in (None, *range(1 << 16))
    assert machine.read_landlock() >= -1
    assert read_available() > 0


def test_memory_and_files(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert [each.state for each in check_memory(config, 64 * 1024**3)] == [State.OK]
    assert [each.state for each in check_memory(config, machine.FILTER_BYTES)] == [State.WARNING]
    assert [each.state for each in check_memory(config, machine.FILTER_BYTES - 1)] == [State.ERROR]
    assert not list(check_memory(config, 0))
    needed = config.limits.incoming_sessions + 2 * config.limits.outgoing_sessions + machine.FILES_BESIDE_SESSIONS
    assert check_open_files(config, needed).state is State.OK
    assert check_open_files(config, needed - 1).state is State.WARNING
    assert check_open_files(config, -1).state is State.OK, "no limit"


def test_walls() -> None:
    assert [each.state for each in check_walls(4, "Name:\tx\nSeccomp:\t0\n")] == [State.OK]
    (missing,) = check_walls(-1, "Name:\tx\n")
    assert (missing.state, missing.text) == (State.WARNING, "this kernel lacks Landlock and seccomp")


# --- names


def test_resolver() -> None:
    assert judge_resolver([Outcome.FOUND, Outcome.NO_NAME], "").state is State.OK
    assert judge_resolver([Outcome.FOUND, Outcome.FAILED], "").state is State.WARNING
    assert judge_resolver([Outcome.FAILED], "timeout").state is State.ERROR


def test_host_names() -> None:
    known = Answer(Outcome.FOUND, ("8.8.8.8", "10.0.0.1"))
    back = [Answer(Outcome.FOUND, ("GW.example.org.",)), Answer(Outcome.NO_NAME)]
    assert not bad(list(judge_host("gw.example.org", known, back)))
    other = [Answer(Outcome.FOUND, ("dsl-1.example.net",)), Answer(Outcome.NO_NAME)]
    assert bad(list(judge_host("gw.example.org", known, other))) == {"reverse:8.8.8.8": State.WARNING}
    unknown: list[Answer[str]] = [Answer(Outcome.FAILED), Answer(Outcome.FAILED)]
    assert not bad(list(judge_host("gw.example.org", known, unknown))), "the resolver's trouble is told elsewhere"
    assert bad(list(judge_host("gw.example.org", Answer(Outcome.NO_NAME), []))) == {"hostname": State.WARNING}


@pytest.mark.parametrize("relays", [True, False])
def test_names_matter_only_where_mail_comes_in_by_smtp(tmp_path: Path, relays: bool) -> None:
    with StubDns() as dns:
        config = config_of(tmp_path, more=f'[resolve]\nname_servers = ["{dns.address}"]')
        if not relays:
            config = msgspec.structs.replace(config, listeners=())
        found = asyncio.run(check_names(config))
    assert bad(found) == ({"hostname": State.WARNING, "mx:example.org": State.WARNING} if relays else {})
    assert "resolver" in {each.key for each in found}, "DNS is asked either way"


@pytest.mark.parametrize("place", ["file", "read-only"])
def test_a_store_that_cannot_be_made_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    above = tmp_path / "elsewhere"
    config = config_of(tmp_path, more=f'[policy]\nbackup_path = "{above}/deep/backup"')
    key = f"directory:{above}/deep/backup"
    assert {each.key: each.state for each in check_disks(config)}[key] is State.OK
    if place == "file":
        above.touch()
    else:
        above.mkdir()
        monkeypatch.setattr(disks, "_may_write", lambda directory, *_: directory != above)
    [found] = [each for each in check_disks(config) if each.key == key]
    assert found.state is State.ERROR
    assert f"{above} {'is no directory' if place == 'file' else 'cannot be written'}" in found.text
    assert f"move {above} away" in found.mend if place == "file" else "mkdir -p" in found.mend


def test_words_in_pictures_that_are_wished_for_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(wish: str) -> list[Finding]:
        more = f'[antispam]\nrecognise_text = "{wish}"\nrecognise_text_data = "{tmp_path}"'
        return list(check_recognition(config_of(tmp_path, more=more), 0.0))

    monkeypatch.setattr(language_data, "LIBRARY", "json")  # one that is there
    [finding] = found("on")
    assert (finding.state, f"no language data of Tesseract in {tmp_path}" in finding.text) == (State.WARNING, True)
    assert "tesseract-ocr-eng" in finding.mend
    monkeypatch.setattr(language_data, "LIBRARY", "gatepost_has_no_such_library")
    [finding] = found("on")
    assert "gatepost_has_no_such_library is not installed" in finding.text
    assert not found("auto")
    assert not found("off")


def test_language_data_that_is_damaged_is_a_problem_until_it_is_mended(tmp_path: Path) -> None:
    pytest.importorskip("tesserocr", reason="tesserocr is not installed: tools/setup.sh dev")
    sound = language_data.find_data()
    if sound is None:
        pytest.skip("no language data: make peers, or apt-get install tesseract-ocr-eng")
    config = config_of(tmp_path, more=f'[antispam]\nrecognise_text = "on"\nrecognise_text_data = "{tmp_path}"')
    content = (sound / "eng.traineddata").read_bytes()
    for number, damaged in enumerate((b"", content[: len(content) // 2], bytes(len(content)))):
        file = tmp_path / "eng.traineddata"
        file.write_bytes(damaged)
        os.utime(file, (number, number))
        [finding] = check_recognition(config, 0.0)
        assert finding.state is State.WARNING
        assert f"the language data in {tmp_path} is damaged: the library cannot load it" in finding.text
        assert "install --reinstall tesseract-ocr-eng" in finding.mend
    (tmp_path / "eng.traineddata").write_bytes(content)
    assert not list(check_recognition(config, 0.0))


def test_a_trial_of_language_data_is_made_once_and_again_when_nothing_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Any] = [
        subprocess.TimeoutExpired("trial", 60),
        subprocess.CompletedProcess((), -6, stdout="", stderr=""),
        subprocess.CompletedProcess((), 0, stdout="the words were not read\n", stderr=""),
    ]

    def run(*_: Any, **__: Any) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def look() -> list[str]:
        return [finding.text.partition("damaged: ")[2] for finding in check_recognition(config, 0.0)]

    monkeypatch.setattr(language_data, "LIBRARY", "json")
    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / "eng.traineddata").write_bytes(b"one")
    config = config_of(tmp_path, more=f'[antispam]\nrecognise_text = "on"\nrecognise_text_data = "{tmp_path}"')
    assert look() == []
    assert look() == look() == ["the library ends with it (code -6)"]
    (tmp_path / "eng.traineddata").write_bytes(b"other")
    assert look() == look() == ["the words were not read"]
    assert outcomes == []
