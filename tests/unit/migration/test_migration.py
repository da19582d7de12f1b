"""Stored state of every format: brought up with nothing lost, brought back, cut off, refused when it is newer."""

import shutil
import tarfile
from pathlib import Path

import apsw
import msgspec
import pytest
from tests.support.gateway import run_here
from tests.support.state_sample import AT, SEEN, look

from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control import accounts
from gatepost.licence import usage
from gatepost.master import digest_state, learning_journal
from gatepost.master.exit_code import StartError
from gatepost.master.restore import Lock
from gatepost.master.state_directory import take_state
from gatepost.migration import carrying
from gatepost.migration.carrying import carry_out, plan_steps
from gatepost.migration.parts import CURRENT, FIRST, FORMATS, PARTS
from gatepost.migration.plan import MigrationError, Move, plan_migration
from gatepost.migration.settling import settle_format
from gatepost.migration.stamp import FILE, Stamp, read_stamp, write_stamp
from gatepost.spool import schema
from gatepost.storage.number import NewerFormat
from gatepost.storage.tracking import history, layout

SAMPLES = Path(__file__).parent / "samples"


def sample(tmp_path: Path, number: int) -> Config:
    """Lay out the state directory of a format, as a program of that format left it."""
    state = tmp_path / "state"
    with tarfile.open(SAMPLES / f"format-{number}.tar.xz") as archive:
        archive.extractall(state, filter="data")
    conf = tmp_path / "gatepost.toml"
    conf.write_text(
        build_default_config(
            state_path=str(state),
            hostname="gw.example.org",
            listen="127.0.0.1:2525",
            next_hop="[127.0.0.1:1]",
            protected_domains=("example.org",),
        )
    )
    config = load(conf).config
    assert config is not None
    if number > FIRST:
        write_stamp(state, Stamp(number, "test", AT))
    return config


def numbers(config: Config) -> dict[str, int]:
    """Return the versions of all databases."""
    found = {}
    for part in PARTS:
        for path in part.find(config):
            if path.suffix != ".json":
                connection = apsw.Connection(str(path))
                found[part.name] = connection.pragma("user_version")
                connection.close()
    return found


def state_of(config: Config) -> Path:
    return Path(config.relay.state_path)


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm")) and "run" not in path.parts
    }


@pytest.mark.parametrize("number", sorted(FORMATS))
def test_every_format_is_brought_up_at_a_start_with_nothing_lost(tmp_path: Path, number: int) -> None:
    config = sample(tmp_path, number)
    told = settle_format(config, AT)
    assert bool(told) == (number != CURRENT)
    assert read_stamp(state_of(config)) == Stamp(CURRENT, read_stamp(state_of(config)).version, AT)  # type: ignore[union-attr]
    assert numbers(config) == {part.name: part.version for part in PARTS if part.name != "accounts"}
    assert look(state_of(config)) == SEEN
    assert settle_format(config, AT + 1) == []


def test_numbers_of_the_newest_format_are_those_the_modules_write() -> None:
    assert FORMATS[CURRENT] == {
        "queue": schema.VERSION,
        "tracking": layout.VERSION,
        "history": history.VERSION,
        "learned": learning_journal.VERSION,
        "digests": digest_state.VERSION,
        "licence-usage": usage.VERSION,
        "accounts": accounts.VERSION,
    }
    assert FORMATS[CURRENT] == {part.name: part.version for part in PARTS}
    assert all((SAMPLES / f"format-{number}.tar.xz").is_file() for number in FORMATS), "keep a sample of each format"


def test_there_is_a_way_back_from_every_step_to_every_format() -> None:
    for part in PARTS:
        for number in FORMATS:
            plan_steps(part, part.version, FORMATS[number][part.name])
            plan_steps(part, FORMATS[number][part.name], part.version)


def test_back_and_up_again_keeps_everything(tmp_path: Path) -> None:
    config = sample(tmp_path, CURRENT)
    carry_out(plan_migration(config, FIRST), config, AT)
    first = numbers(config)
    assert first == {name: number for name, number in FORMATS[FIRST].items() if name != "accounts"}
    assert read_stamp(state_of(config)).format == FIRST  # type: ignore[union-attr]
    settle_format(config, AT + 1)
    assert look(state_of(config)) == SEEN


@pytest.mark.parametrize("number", sorted(schema.UPGRADES))
def test_queue_of_each_earlier_version_keeps_its_mail(tmp_path: Path, number: int) -> None:
    config = sample(tmp_path, FIRST)
    [queue] = PARTS[0].find(config)
    connection = apsw.Connection(str(queue))
    for statement in plan_steps(PARTS[0], schema.VERSION, number):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={number}")
    connection.close()
    settle_format(config, AT)
    assert look(state_of(config)) == SEEN


def test_what_will_be_changed_is_copied_as_it_was(tmp_path: Path) -> None:
    config = sample(tmp_path, FIRST)
    moves = plan_migration(config).moves
    kept = carry_out(plan_migration(config), config, AT)
    assert kept is not None
    listed = msgspec.json.decode((kept / "files.json").read_bytes(), type=list[carrying.Copy])
    assert [(each.place, each.version) for each in listed] == [(str(move.path), move.start) for move in moves]
    assert len(moves) == 2
    for each in listed:
        assert (kept / each.copy).stat().st_mode & 0o077 == 0
        shutil.copyfile(kept / each.copy, each.place)
    (state_of(config) / FILE).unlink()
    assert plan_migration(config).moves == moves
    settle_format(config, AT + 1)
    assert look(state_of(config)) == SEEN


def test_one_that_is_cut_off_goes_on_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = sample(tmp_path, FIRST)
    whole = carrying._move

    def fail_at_last(move: Move) -> None:
        if move == plan.moves[-1]:
            raise OSError("no space left on device")
        whole(move)

    plan = plan_migration(config)
    with monkeypatch.context() as patched:
        patched.setattr(carrying, "_move", fail_at_last)
        with pytest.raises(MigrationError, match=r"no space left.*as it was before: .*/migrations/"):
            settle_format(config, AT)
    assert read_stamp(state_of(config)) is None
    assert plan_migration(config).moves == plan.moves[-1:]
    settle_format(config, AT + 1)
    assert look(state_of(config)) == SEEN


def test_a_step_that_fails_leaves_its_file_as_it_was(tmp_path: Path) -> None:
    config = sample(tmp_path, FIRST)
    [digests] = next(part for part in PARTS if part.name == "digests").find(config)
    connection = apsw.Connection(str(digests))
    connection.execute("DROP TABLE used")
    connection.close()
    with pytest.raises(MigrationError, match="used"):
        settle_format(config, AT)
    assert numbers(config)["digests"] == 0


def test_without_room_for_copies_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = sample(tmp_path, FIRST)
    before = contents(state_of(config))
    monkeypatch.setattr(carrying, "SPARE", 1 << 62)
    with pytest.raises(MigrationError, match="make room"):
        settle_format(config, AT)
    assert contents(state_of(config)) == before
    carry_out(plan_migration(config), config, AT, copies=False)
    assert not (state_of(config) / "migrations").exists()


def test_start_refuses_what_a_later_program_wrote_and_touches_nothing(tmp_path: Path) -> None:
    config = sample(tmp_path, CURRENT)
    write_stamp(state_of(config), Stamp(CURRENT + 1, "9.9", AT))
    before = contents(state_of(config))
    with pytest.raises(StartError, match=rf"written by version 9\.9.*gatepost migrate --to {CURRENT}"):
        take_state(config)
    after = contents(state_of(config))
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("name", [part.name for part in PARTS])
def test_each_part_of_a_later_version_is_refused_by_whoever_reads_it(tmp_path: Path, name: str) -> None:
    config = sample(tmp_path, CURRENT)
    part = next(part for part in PARTS if part.name == name)
    [path] = [path for path in part.find(config) if path.exists()]
    if path.suffix == ".json":
        path.write_text('{"version": 99, "accounts": []}')
    else:
        connection = apsw.Connection(str(path))
        connection.execute("PRAGMA user_version=99")
        connection.close()
    with pytest.raises(MigrationError, match=r"has version 99; this program knows version"):
        plan_migration(config)
    if name != "licence-usage":
        with pytest.raises(Exception, match="version 99"):
            look(state_of(config))
    else:
        with pytest.raises(NewerFormat, match="version 99"):
            usage.UsageBook(path)


def test_fresh_directories_are_stamped_and_unfinished_databases_left_to_their_owner(tmp_path: Path) -> None:
    config = sample(tmp_path, FIRST)
    shutil.rmtree(state_of(config))
    shard = state_of(config) / "queue" / "relay-0"
    shard.mkdir(parents=True)
    (shard / "spool.db").touch()
    assert plan_migration(config).moves == ()
    assert settle_format(config, AT) == []
    assert read_stamp(state_of(config)).format == CURRENT  # type: ignore[union-attr]
    shutil.rmtree(state_of(config))
    state_of(config).mkdir()
    assert settle_format(config, AT) == []
    assert read_stamp(state_of(config)).format == CURRENT  # type: ignore[union-attr]


def test_what_a_command_made_before_the_first_start_was_not_brought_from_anywhere(tmp_path: Path) -> None:
    config = sample(tmp_path, CURRENT)
    (state_of(config) / "format.json").unlink()  # as a setup leaves it, with accounts in it
    assert settle_format(config, AT) == []
    assert read_stamp(state_of(config)).format == CURRENT  # type: ignore[union-attr]


def test_command_shows_does_and_undoes(tmp_path: Path) -> None:
    config = sample(tmp_path, FIRST)
    conf = str(tmp_path / "gatepost.toml")
    before = contents(state_of(config))
    shown = run_here("migrate", "--dry-run", "-c", conf)
    assert shown.returncode == 0
    assert "is of format 1" in shown.stdout
    assert "state.sqlite: version 0 → 1" in shown.stdout
    assert "Nothing was changed." in shown.stdout
    assert contents(state_of(config)) == before
    assert "of format 2 now" in run_here("migrate", "-c", conf).stdout
    assert "nothing to do" in run_here("migrate", "-c", conf).stdout
    back = run_here("migrate", "--back", "-c", conf)
    assert (back.returncode, "of format 1 now" in back.stdout) == (0, True)
    assert numbers(config)["digests"] == 0
    assert "no format 99" in run_here("migrate", "--to", "99", "-c", conf).stderr
    lock = Lock(state_of(config))
    busy = run_here("migrate", "--dry-run", "-c", conf)
    lock.release()
    assert (busy.returncode, "stop it first" in busy.stderr) == (4, True)


@pytest.mark.parametrize(
    "number", [number for number in FORMATS if (SAMPLES / f"configuration-{number}.toml").exists()]
)
def test_configuration_of_every_format_is_still_understood(number: int) -> None:
    """It sets every parameter there was, each by the name it had."""
    loaded = load(SAMPLES / f"configuration-{number}.toml")
    assert loaded.errors == ()
    assert len(loaded.origins) > 300


def test_restored_state_of_an_earlier_format_is_looked_at_again(tmp_path: Path) -> None:
    config = sample(tmp_path, FIRST)
    backup = tmp_path / "backup.tar"
    conf = str(tmp_path / "gatepost.toml")
    assert run_here("backup", str(backup), "-c", conf).returncode == 0
    settle_format(config, AT)
    assert run_here("restore", str(backup), "--yes", "-c", conf).returncode == 0
    assert read_stamp(state_of(config)) is None
    settle_format(config, AT)
    assert look(state_of(config)) == SEEN


def test_damaged_stamp_is_no_reason_to_guess(tmp_path: Path) -> None:
    config = sample(tmp_path, CURRENT)
    (state_of(config) / FILE).write_text("{")
    with pytest.raises(MigrationError, match=r"format\.json cannot be read"):
        settle_format(config, AT)
