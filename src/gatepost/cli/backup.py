"""`gatepost backup FILE`, `gatepost backup verify FILE`, `gatepost restore FILE`: all but the mail, in one file.

`gatepost backup` with another word is about the store of originals (`cli.store_apps`), as documented. Exit codes:
1 wrong options, 2 the file cannot be read or is not whole, 3 the system refuses, 4 not done.
"""

import contextlib
import difflib
import getpass
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import cyclopts

from gatepost import __version__
from gatepost.cli.choice import Yes, confirm
from gatepost.cli.gateway import (
    DEFAULT_FILE,
    EXIT_BAD_OPTIONS,
    EXIT_NOT_DONE,
    EXIT_SYSTEM,
    EXIT_UNREADABLE,
    AsJson,
    ConfigFile,
    complain,
    print_json,
)
from gatepost.cli.store_apps import backup as app
from gatepost.config.external import explain_os_error
from gatepost.config.load import load
from gatepost.master.backup import KEPT_BESIDE, OUTSIDE, BackupError, Manifest, plan_backup, write_backup
from gatepost.master.paths import Paths
from gatepost.master.restore import Lock, is_sealed, list_exchanged, put_in_place, read_backup
from gatepost.notices.text import clean_text

PASSPHRASE_LIMIT: Final = 1024
SHORTEST: Final = 12
"""Characters of a new passphrase: the file may lie where others can try."""
_WIDTH = 300

PassphraseFile = Annotated[
    Path | None, cyclopts.Parameter(help="file whose first line is the passphrase; else it is asked for")
]
BackupFile = Annotated[Path, cyclopts.Parameter(help="what gatepost backup has made")]
DryRun = Annotated[bool, cyclopts.Parameter(name="--dry-run", negative="", help="only say what would be done")]


@app.default
def save(
    file: Path,
    /,
    *,
    with_tracking: Annotated[bool, cyclopts.Parameter(negative="", help="what became of mails, too")] = False,
    encrypt: Annotated[bool, cyclopts.Parameter(negative="", help="seal it with a passphrase")] = False,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Save configuration, lists, accounts, keys, what was learned and own databases in one file; no mail.

    A running gateway goes on. Without --encrypt the file holds keys and digests of passwords in clear, readable for its
    owner alone.

    Parameters
    ----------
    file
        Where to; one that is there stays.

    """
    near = difflib.get_close_matches(str(file), [name for name in app if not name.startswith("-")], 1)
    if near and not file.suffix:
        text = f"Did you mean gatepost backup {near[0]}? For a file give the name an ending: {file}.gpb"
        return complain(text, EXIT_BAD_OPTIONS)
    loaded = load(conf_file)
    try:
        sources = plan_backup(loaded, tracking=with_tracking)
        if dry_run:
            if as_json:
                print_json([{"name": each.name, "from": str(each.path)} for each in sources])
            else:
                print("".join(f"{each.name}  {each.path}\n" for each in sources), end="")
            return 0
        passphrase = _new_passphrase(passphrase_file) if encrypt or passphrase_file else ""
        # Named at its end only: what is there under its name is whole.
        fd, fresh = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.absolute().parent)
        try:
            with os.fdopen(fd, "wb") as target:
                manifest = write_backup(target, loaded, sources, tracking=with_tracking, passphrase=passphrase)
                target.flush()
                os.fsync(target.fileno())
            os.link(fresh, file, follow_symlinks=False)
        finally:
            Path(fresh).unlink(missing_ok=True)
    except BackupError as error:
        return complain(f"no backup: {error}", loaded.exit_code or EXIT_SYSTEM)
    except FileExistsError:
        return complain(f"{file} is there already", EXIT_NOT_DONE)
    except OSError as error:
        return complain(f"no backup: {error.filename or file}: {error.strerror or error}", EXIT_SYSTEM)
    return _show(manifest, file, as_json=as_json)


@app.command
def verify(file: BackupFile, /, *, passphrase_file: PassphraseFile = None, as_json: AsJson = False) -> int:
    """Read a backup of the gateway to its end and compare every file in it with its digest."""
    try:
        manifest = read_backup(file, _passphrase(file, passphrase_file), None)
    except BackupError as error:
        return complain(f"not whole: {error}", EXIT_UNREADABLE)
    except OSError as error:
        return complain(f"{error.filename or file}: {explain_os_error(error)}", EXIT_UNREADABLE)
    return _show(manifest, file, as_json=as_json)


def restore(
    file: Path,
    /,
    *,
    state: Annotated[
        str, cyclopts.Parameter(help="state directory, where the configuration file is not there yet or has errors")
    ] = "",
    other_version: Annotated[
        bool, cyclopts.Parameter(negative="", help="also what another version of the program has made")
    ] = False,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Put a backup in place of what a stopped gateway has; what was there is kept beside. Queue and stores stay.

    Parameters
    ----------
    file
        What `gatepost backup` has made.

    """
    place = Path(state or load(conf_file).state_path) if state or conf_file.exists() else None
    if place is None or not place.is_absolute():
        return complain(f"{conf_file} says no state directory: name one with --state", EXIT_BAD_OPTIONS)
    if refusal := _refuse_other_gateway(place, conf_file):
        return complain(refusal, EXIT_BAD_OPTIONS)
    try:
        passphrase = _passphrase(file, passphrase_file)
        if dry_run:
            return _try_out(file, passphrase, place, conf_file, other_version=other_version)
        place.mkdir(0o750, parents=True, exist_ok=True)
        with contextlib.closing(_Held(place)):
            laid = Path(tempfile.mkdtemp(prefix=".restore-", dir=place))
            try:
                manifest = read_backup(file, passphrase, laid)
                if refusal := _refuse_version(manifest, file, other_version=other_version):
                    return complain(refusal, EXIT_NOT_DONE)
                print(_describe(manifest, place, conf_file))
                if not yes and not confirm("Put it in place?"):
                    return complain("nothing was done", EXIT_NOT_DONE)
                beside = put_in_place(laid, manifest, place, conf_file.absolute())
            finally:
                shutil.rmtree(laid, ignore_errors=True)
    except BackupError as error:
        return complain(f"not restored: {error}", EXIT_UNREADABLE)
    except OSError as error:
        return complain(f"not restored: {error.filename or file}: {explain_os_error(error)}", EXIT_SYSTEM)
    return _after(manifest, beside, place, conf_file)


def _try_out(file: Path, passphrase: str, place: Path, conf_file: Path, *, other_version: bool) -> int:
    """Say what restoring would do, or why it would not; nothing is made or changed. BackupError."""
    manifest = read_backup(file, passphrase, None)
    print(_describe(manifest, place, conf_file))
    if refusal := _refuse_version(manifest, file, other_version=other_version):
        return complain(refusal, EXIT_NOT_DONE)
    if Paths(str(place)).lock.exists():
        _Held(place).close()
    names = list_exchanged(manifest)
    there = [name for name in names if os.path.lexists(place / name)]
    print(f"Would come: {', '.join(names)}")
    print(f"Would be kept aside in {place / KEPT_BESIDE}…: {', '.join(there) or 'nothing, none of it is there'}")
    if conf_file.exists():
        print(f"{conf_file} is there: it would be kept aside, and be another")
    return 0


def _refuse_version(manifest: Manifest, file: Path, *, other_version: bool) -> str:
    """Return why what another version made is not restored, "" when it may be."""
    if manifest.version == __version__ or other_version:
        return ""
    text = f"{file} was made by version {clean_text(manifest.version, 40)}, this is {__version__}"
    return f"{text}: use that version, or --other-version"


def _refuse_other_gateway(place: Path, conf_file: Path) -> str:
    """Return why a configuration that nobody named is not exchanged: it is that of a gateway elsewhere."""
    told = load(conf_file).state_path if conf_file == DEFAULT_FILE and conf_file.exists() else ""
    if not told or Path(told) == place:
        return ""
    return f"{conf_file} is of the gateway in {told}, not in {place}: name the configuration file to write with -c"


class _Held(Lock):
    """A lock that a `with` lets go."""

    def close(self) -> None:
        self.release()


def _after(manifest: Manifest, beside: Path, place: Path, conf_file: Path) -> int:
    print(f"Restored. What was there is kept in {beside}")
    elsewhere = [entry for entry in manifest.files if entry.name.startswith(f"{OUTSIDE}/")]
    if elsewhere:
        print(f"Files that were elsewhere are in {beside / 'files-from-elsewhere'}: put them back where they belong.")
        for entry in elsewhere:
            print(f"  {entry.name.partition('/')[2]}  was {clean_text(entry.place, _WIDTH)}")
    if manifest.state_path != str(place):
        was = clean_text(manifest.state_path, _WIDTH)
        print(f"The configuration was made for the state directory {was}: look through the paths in {conf_file}.")
    print(f"Then: gatepost config check -c {conf_file}, and start the gateway; stores: gatepost quarantine reindex")
    return 0


def _describe(manifest: Manifest, place: Path, conf_file: Path) -> str:
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(manifest.made_at))
    return (
        f"{len(manifest.files)} files of {clean_text(manifest.hostname, _WIDTH)}, made {made} by version "
        f"{clean_text(manifest.version, 40)}, {'with' if manifest.tracking else 'without'} tracking\n"
        f"State: {place}\nConfiguration: {conf_file}"
    )


def _show(manifest: Manifest, file: Path, *, as_json: bool) -> int:
    if as_json:
        print_json(manifest)
        return 0
    total = sum(entry.size for entry in manifest.files)
    print(f"{file}: whole, {len(manifest.files)} files, {total} bytes unpacked, no mail")
    return 0


def _passphrase(file: Path, passphrase_file: Path | None) -> str:
    """Return the passphrase that a backup needs, "" for none."""
    if not is_sealed(file):
        return ""
    return _read_passphrase(passphrase_file) if passphrase_file else getpass.getpass("Passphrase: ")


def _new_passphrase(passphrase_file: Path | None) -> str:
    if passphrase_file is not None:
        passphrase = _read_passphrase(passphrase_file)
    else:
        passphrase = getpass.getpass("New passphrase: ")
        if passphrase != getpass.getpass("The same again: "):
            raise BackupError("the passphrases differ")
    if len(passphrase) < SHORTEST:
        raise BackupError(f"the passphrase is shorter than {SHORTEST} characters")
    return passphrase


def _read_passphrase(file: Path) -> str:
    with file.open(encoding="utf-8") as opened:
        passphrase = opened.readline(PASSPHRASE_LIMIT).rstrip("\r\n")
    if not passphrase:
        raise BackupError(f"{file} has no passphrase in its first line")
    return passphrase
