"""Backups: what is in them, that they are whole or refused, that hostile ones write nowhere else, and the way back."""

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from tests.support.gateway import GATEPOST, run_here

from gatepost import __version__
from gatepost.cli import backup as backup_command
from gatepost.config.load import load
from gatepost.master import backup_seal
from gatepost.master.backup import FORMAT, BackupError, plan_backup, write_backup
from gatepost.master.backup_seal import PIECE, SealedReader, SealedWriter, SealError
from gatepost.master.paths import Paths
from gatepost.master.restore import Lock, is_sealed, read_backup

PASSPHRASE = "a passphrase of some length"
TOML = """
[relay]
state_path = "{state}"
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
tls_cert = "{outside}/cert.pem"
tls_key = "{outside}/cert.pem"
[access]
deny_clients = "file:{outside}/denied.txt"
[policy]
quarantine_path = "{state}/deep/quarantine"
"""


@pytest.fixture(autouse=True)
def cheap_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SealedWriter.__init__, "__defaults__", (16,))


class House:
    """A state directory with something of everything, and its configuration."""

    def __init__(self, tmp_path: Path) -> None:
        self.state, self.outside = tmp_path / "state", tmp_path / "outside"
        self.file = tmp_path / "etc" / "gatepost.toml"
        for name in (
            "learned",
            "own-spam/terms-history",
            "own-spam/samples",
            "audit",
            "run",
            "queue/0",
            "deep/quarantine",
            "tracking",
            "deep/more",
        ):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        self.outside.mkdir()
        self.file.parent.mkdir()
        (self.outside / "cert.pem").write_text("certificate")
        (self.outside / "denied.txt").write_text("192.0.2.9\n")
        self.file.write_text(TOML.format(state=self.state, outside=self.outside))
        for name, text in {
            "lists.json": "lists",
            "accounts.json": "accounts",
            "learned/weights.bin": "weights",
            "own-spam/own.terms": "terms",
            "own-spam/own.samples": "compiled",
            "own-spam/samples/one": "sample",
            "own-spam/terms-history/000001.json": "version",
            "audit/audit-000001.jsonl": "audit",
            "deep/more/notes": "notes",
            "tracking/day": "tracking",
            "queue/0/mail": "mail",
            "deep/quarantine/item": "kept",
            "bypass.json": "{}",
            "clock.json": "{}",
            "run/master.lock": "",
        }.items():
            (self.state / name).write_text(text)
        (self.state / "link").symlink_to("/etc/passwd")
        self.database = apsw.Connection(str(self.state / "greylist.db"))
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("CREATE TABLE t(a)")
        self.add(1)

    def add(self, value: int) -> None:
        self.database.execute("INSERT INTO t VALUES(?)", (value,))

    def rows(self) -> list[int]:
        fresh = apsw.Connection(str(self.state / "greylist.db"))
        try:
            return [row[0] for row in fresh.execute("SELECT a FROM t ORDER BY a")]
        finally:
            fresh.close()

    def save(self, target: Path, *options: str) -> Path:
        done = run_here("backup", str(target), "-c", str(self.file), *options)
        assert done.returncode == 0, done.stderr
        return target


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def names_in(path: Path, passphrase: str = "") -> set[str]:
    return {entry.name for entry in read_backup(path, passphrase, None).files}


def test_it_holds_all_but_mail_and_what_is_made_anew(house: House, tmp_path: Path) -> None:
    file = house.save(tmp_path / "b.gpb")
    assert names_in(file) == {
        "configuration/gatepost.toml",
        "outside/0000-cert.pem",
        "outside/0001-denied.txt",
        "state/lists.json",
        "state/accounts.json",
        "state/learned/weights.bin",
        "state/own-spam/own.terms",
        "state/own-spam/own.samples",
        "state/own-spam/samples/one",
        "state/own-spam/terms-history/000001.json",
        "state/audit/audit-000001.jsonl",
        "state/deep/more/notes",
        "state/greylist.db",
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "state/tracking/day" in names_in(house.save(tmp_path / "t.gpb", "--with-tracking"))


def test_what_is_there_is_put_back_and_what_came_since_is_kept_beside(house: House, tmp_path: Path) -> None:
    file = house.save(tmp_path / "b.gpb")
    house.add(2)  # lies in the write-ahead log, which must not be played into what comes
    (house.state / "lists.json").write_text("spoilt")
    (house.state / "learned/weights.bin").write_text("spoilt")
    (house.state / "own-spam/own.terms").write_text("spoilt")
    (house.state / "learned/later").write_text("later")
    house.file.write_text(house.file.read_text() + "# spoilt\n")
    done = run_here("restore", str(file), "-c", str(house.file), "--yes")
    assert done.returncode == 0, done.stderr
    assert (house.state / "lists.json").read_text() == "lists"
    assert (house.state / "learned/weights.bin").read_text() == "weights"
    assert (house.state / "own-spam/own.terms").read_text() == "terms"
    assert not (house.state / "learned/later").exists()
    assert house.rows() == [1]
    assert "# spoilt" not in house.file.read_text()
    assert load(house.file).config is not None
    [beside] = house.state.glob("before-restore-*")
    assert (beside / "lists.json").read_text() == "spoilt"
    assert (beside / "learned/later").read_text() == "later"
    assert "# spoilt" in (beside / "gatepost.toml").read_text()
    assert (beside / "files-from-elsewhere/0000-cert.pem").read_text() == "certificate"
    assert (house.state / "queue/0/mail").read_text() == "mail"
    assert (house.state / "deep/quarantine/item").read_text() == "kept"
    assert not list(house.state.glob(".restore-*"))


def test_a_database_is_saved_as_of_one_moment_beside_its_writer(house: House, tmp_path: Path) -> None:
    house.database.execute("BEGIN")
    house.add(2)
    file = house.save(tmp_path / "b.gpb")
    house.database.execute("COMMIT")
    into = tmp_path / "laid"
    into.mkdir()
    read_backup(file, "", into)
    copy = apsw.Connection(str(into / "state/greylist.db"))
    assert [row[0] for row in copy.execute("SELECT a FROM t")] == [1]
    copy.close()


def test_a_running_gateway_is_not_restored(house: House, tmp_path: Path) -> None:
    file = house.save(tmp_path / "b.gpb")
    lock = Lock(house.state)
    try:
        done = run_here("restore", str(file), "-c", str(house.file), "--yes")
    finally:
        lock.release()
    assert done.returncode == 2
    assert "stop it first" in done.stderr
    assert not list(house.state.glob("before-restore-*"))
    assert Paths(str(house.state)).lock.exists()


def test_who_does_not_agree_changes_nothing(house: House, tmp_path: Path) -> None:
    file = house.save(tmp_path / "b.gpb")
    (house.state / "lists.json").write_text("mine")
    done = run_here("restore", str(file), "-c", str(house.file))
    assert done.returncode == 4
    assert (house.state / "lists.json").read_text() == "mine"
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert run_here("restore", str(file), "-c", str(tmp_path / "new.toml"), "--state", str(fresh)).returncode == 4
    assert list(fresh.iterdir()) == [], "an attempt leaves nothing behind"


def test_the_configuration_of_another_gateway_is_not_exchanged_unasked(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = house.save(tmp_path / "b.gpb")
    monkeypatch.setattr(backup_command, "DEFAULT_FILE", house.file)
    before = house.file.read_text()
    assert backup_command.restore(file, state=str(tmp_path / "fresh"), yes=True, conf_file=house.file) == 1
    assert house.file.read_text() == before
    assert not (tmp_path / "fresh").exists()
    assert backup_command.restore(file, state=str(house.state), yes=True, conf_file=house.file) == 0


def test_a_dry_run_says_what_would_be_exchanged_and_makes_nothing(house: House, tmp_path: Path) -> None:
    file = house.save(tmp_path / "b.gpb")
    (house.state / "lists.json").write_text("mine")
    before = sorted(house.state.rglob("*"))
    done = run_here("restore", str(file), "-c", str(house.file), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "13 files" in done.stdout
    [aside] = [line for line in done.stdout.splitlines() if line.startswith("Would be kept aside")]
    assert "lists.json" in aside
    assert f"{house.file} is there" in done.stdout
    assert sorted(house.state.rglob("*")) == before
    assert (house.state / "lists.json").read_text() == "mine"
    fresh = tmp_path / "fresh"
    done = run_here("restore", str(file), "--state", str(fresh), "-c", str(fresh / "gatepost.toml"), "--dry-run")
    assert "none of it is there" in done.stdout
    assert not fresh.exists()


def test_a_dry_run_refuses_what_restoring_would_refuse(house: House, tmp_path: Path) -> None:
    file = house.save(tmp_path / "b.gpb")
    lock = Lock(house.state)
    try:
        done = run_here("restore", str(file), "-c", str(house.file), "--dry-run")
    finally:
        lock.release()
    assert done.returncode == 2
    assert "stop it first" in done.stderr
    other = hostile(tmp_path / "v.gpb", [member("state/new")], version="99.0")
    done = run_here("restore", str(other), "-c", str(house.file), "--dry-run")
    assert done.returncode == 4
    assert "made by version 99.0" in done.stderr


def test_a_sealed_one_needs_its_passphrase(house: House, tmp_path: Path) -> None:
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    secret.write_text(PASSPHRASE + "\n")
    wrong.write_text("another passphrase\n")
    file = house.save(tmp_path / "b.gpb", "--passphrase-file", str(secret))
    assert is_sealed(file)
    assert b"weights" not in file.read_bytes()
    assert run_here("backup", "verify", str(file), "--passphrase-file", str(secret)).returncode == 0
    alone = subprocess.run(
        [*GATEPOST, "backup", "verify", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        timeout=60,
    )
    assert alone.returncode == 1, "a job of cron has no terminal"
    assert "nobody to ask" in alone.stderr
    assert "Traceback" not in alone.stderr
    done = run_here("backup", "verify", str(file), "--passphrase-file", str(wrong))
    assert done.returncode == 2
    assert "passphrase is wrong" in done.stderr
    with pytest.raises(BackupError, match="passphrase is needed"):
        read_backup(file, "", None)
    short = tmp_path / "short"
    short.write_text("short\n")
    assert run_here("backup", str(tmp_path / "c"), "--passphrase-file", str(short), "-c", str(house.file)).returncode


def test_an_existing_file_stays(house: House, tmp_path: Path) -> None:
    file = tmp_path / "b.gpb"
    file.write_text("mine")
    assert run_here("backup", str(file), "-c", str(house.file)).returncode == 4
    assert file.read_text() == "mine"
    assert not list(tmp_path.glob(".b.gpb*"))


@pytest.mark.parametrize(("typed", "meant"), [("serach", "search"), ("lst", "list"), ("verfy", "verify")])
def test_a_misspelt_word_is_no_name_of_a_file(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    run = run_here("backup", typed, "-c", str(house.file))
    assert (run.returncode, f"gatepost backup {meant}?" in run.stderr) == (1, True)
    assert list(here.iterdir()) == []
    assert run_here("backup", f"./{typed}.gpb", "-c", str(house.file)).returncode == 0


def test_the_store_of_originals_keeps_its_words(house: House) -> None:
    assert run_here("backup", "list", "-c", str(house.file)).returncode == 0


@pytest.mark.parametrize("sealed", [False, True])
def test_every_changed_or_missing_byte_is_noticed(house: House, tmp_path: Path, sealed: bool) -> None:
    loaded = load(house.file)
    out = io.BytesIO()
    passphrase = PASSPHRASE if sealed else ""
    write_backup(out, loaded, plan_backup(loaded, tracking=False), tracking=False, passphrase=passphrase)
    whole = out.getvalue()
    file = tmp_path / "b.gpb"
    file.write_bytes(whole)
    manifest = read_backup(file, passphrase, None)
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            # Some bits of a packed file mean nothing; of a sealed one every bit counts.
            assert read_backup(file, passphrase, None) == manifest
            assert not sealed
        except BackupError:
            pass
    for length in range(0, len(whole), 31):
        file.write_bytes(whole[:length])
        with pytest.raises(BackupError):
            read_backup(file, passphrase, None)
    if sealed:
        file.write_bytes(whole + b"x")
        with pytest.raises(BackupError):
            read_backup(file, passphrase, None)


def hostile(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], **changes: Any) -> Path:
    """Write an archive whose manifest agrees with what is in it."""
    files = [
        {"name": info.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for info, data in members
    ]
    told = {
        "format": FORMAT,
        "version": __version__,
        "made_at": 0.0,
        "hostname": "x",
        "state_path": "/",
        "configuration": "/etc/passwd",
        "tracking": False,
        "files": files,
        **changes,
    }
    manifest = msgspec.json.encode(told)
    last = tarfile.TarInfo("manifest.json")
    last.size = len(manifest)
    with path.open("wb") as raw, gzip.open(raw, "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        for info, data in [*members, (last, manifest)]:
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, target: str = "") -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data if kind == tarfile.REGTYPE else b""


@pytest.mark.parametrize(
    "members",
    [
        [member("state/../../evil")],
        [member("/etc/evil")],
        [member("state//evil")],
        [member("state/./evil")],
        [member("evil")],
        [member("state")],
        [member("other/evil")],
        [member("state/run/evil")],
        [member("state/queue/evil")],
        [member("configuration/a/b")],
        [member("state/a\nb")],
        [member("state/x", kind=tarfile.SYMTYPE, target="/etc")],
        [member("state/x", kind=tarfile.LNKTYPE, target="/etc/passwd")],
        [member("state/x", kind=tarfile.DIRTYPE)],
        [member("state/x", kind=tarfile.FIFOTYPE)],
        [member("state/x", kind=tarfile.CHRTYPE)],
        [member("state/x"), member("state/x")],
        [member("state/x", kind=tarfile.SYMTYPE, target=".."), member("state/x/evil")],
        [member("state/" + "d/" * 40 + "x")],
    ],
)
def test_hostile_names_and_links_are_refused(tmp_path: Path, members: list[Any]) -> None:
    house = House(tmp_path)
    file = hostile(tmp_path / "h.gpb", members)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    done = run_here("restore", str(file), "-c", str(house.file), "--yes")
    assert done.returncode == 2, done.stdout
    after = sorted(str(path) for path in tmp_path.rglob("*"))
    assert after == before


def test_a_manifest_does_not_say_where_things_go(tmp_path: Path) -> None:
    house = House(tmp_path)
    file = hostile(tmp_path / "h.gpb", [member("state/new"), member("configuration/evil.toml", b"[relay]\n")])
    done = run_here("restore", str(file), "-c", str(house.file), "--yes")
    assert done.returncode == 0, done.stderr
    assert (house.state / "new").read_text() == "x"
    assert house.file.read_text() == "[relay]\n"
    assert not (house.file.parent / "evil.toml").exists()


@pytest.mark.parametrize("place", ["../outside", "/etc", "link/x"])
def test_mail_is_put_back_below_the_state_directory_only(tmp_path: Path, place: str) -> None:
    house = House(tmp_path)
    file = hostile(tmp_path / "h.gpb", [member("state/new")], left_out=[place])
    run_here("restore", str(file), "-c", str(house.file), "--yes")
    assert (house.outside / "cert.pem").exists()
    assert (house.state / "link").is_symlink()


def test_another_version_or_format_is_said(tmp_path: Path) -> None:
    house = House(tmp_path)
    other = hostile(tmp_path / "v.gpb", [member("state/new")], version="99.0")
    done = run_here("restore", str(other), "-c", str(house.file), "--yes")
    assert done.returncode == 4
    assert "made by version 99.0" in done.stderr
    assert run_here("restore", str(other), "-c", str(house.file), "--yes", "--other-version").returncode == 0
    form = hostile(tmp_path / "f.gpb", [member("state/new")], format=2, version="99.0")
    done = run_here("restore", str(form), "-c", str(house.file), "--yes")
    assert done.returncode == 2
    assert "another format" in done.stderr


def test_without_a_configuration_the_state_directory_must_be_named(house: House, tmp_path: Path) -> None:
    file = house.save(tmp_path / "b.gpb")
    fresh, conf = tmp_path / "fresh", tmp_path / "new" / "gatepost.toml"
    assert "--state" in run_here("restore", str(file), "-c", str(conf), "--yes").stderr
    done = run_here("restore", str(file), "-c", str(conf), "--state", str(fresh), "--yes")
    assert done.returncode == 0, done.stderr
    assert (fresh / "accounts.json").read_text() == "accounts"
    assert conf.read_text() == house.file.read_text()
    assert str(house.state) in done.stdout


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_sealing_is_exact_at_the_edges_of_its_pieces(size: int) -> None:
    out = io.BytesIO()
    data = os.urandom(size)
    writer = SealedWriter(out, PASSPHRASE)
    writer.write(data[: size // 2])
    writer.write(data[size // 2 :])
    writer.close()
    file = io.BytesIO(out.getvalue()[len(backup_seal.MAGIC) :])
    assert io.BufferedReader(SealedReader(file, PASSPHRASE)).read() == data


def test_pieces_cannot_change_places() -> None:
    out = io.BytesIO()
    writer = SealedWriter(out, PASSPHRASE)
    writer.write(bytes(3 * PIECE))
    writer.close()
    head, first = out.getvalue().split(b"}\n", 1)
    length = PIECE + 16 + 4
    moved = head + b"}\n" + first[length : 2 * length] + first[:length] + first[2 * length :]
    with pytest.raises(SealError):
        io.BufferedReader(SealedReader(io.BytesIO(moved[len(backup_seal.MAGIC) :]), PASSPHRASE)).read()


def test_a_head_that_would_keep_us_busy_is_refused() -> None:
    line = msgspec.json.encode({"salt": b"x" * 16, "cost": 2**30}) + b"\n"
    with pytest.raises(SealError):
        SealedReader(io.BytesIO(line), PASSPHRASE)
