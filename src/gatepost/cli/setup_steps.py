"""What `gatepost setup` does besides the configuration, as steps: words first, then the deed.

Used by `cli.setup`, which shows the words with `--dry-run` and carries the steps out otherwise. A step that finds its
work done says so and does nothing. What needs the gateway's user is run as that user.
"""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gatepost.cli.setup_host import Host
from gatepost.cli.setup_questions import Answers, Start
from gatepost.config.schema import Config
from gatepost.control.accounts import AccountBook
from gatepost.control.rights import Role
from gatepost.control.socket import ControlError, call
from gatepost.feeds.updating import ROOT_FILE
from gatepost.licence.current import licences_of, read_standing, today
from gatepost.licence.key import LicenceError, parse_key
from gatepost.licence.store import resolve_issuers
from gatepost.master.accounts import Accounts
from gatepost.master.paths import Paths
from gatepost.relay.passwords import hasher
from gatepost.storage.whole_file import replace_file, rewrite_file

SERVICE: Final = "gatepost.service"
TIMER: Final = "gatepost-update.timer"
"""Of the package: regular updates."""
SYSTEMCTL_S: Final = 180.0
"""The service is up when this is over, or has failed: its own limit is two minutes."""
UPDATE_S: Final = 3600.0
"""For a first update over a slow line."""
_UPDATED: Final = (0, 1)
_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o640
"""The configuration may hold a proxy's password."""


class NotDone(Exception):  # noqa: N818 - what became of the step
    """A step that could not be done; says why, and how to do it later."""


class Step(msgspec.Struct, frozen=True):
    """One step."""

    words: str
    """What is done, as an order."""
    act: Callable[[], str]
    """Does it, and returns what came of it. NotDone, OSError."""
    vital: bool = True
    """Without it the next ones make no sense."""


class Owner(msgspec.Struct, frozen=True):
    """Whom files are given to; nobody else than us unless root sets up for another user."""

    who: pwd.struct_passwd | None = None

    def give(self, *paths: Path) -> None:
        """Give files away, those that exist."""
        for path in paths:
            if self.who is not None and path.exists():
                os.chown(path, self.who.pw_uid, self.who.pw_gid, follow_symlinks=False)

    def make(self, directory: Path, mode: int = _DIRECTORY_MODE) -> None:
        """Make a directory and what leads to it; what is there stays as it is."""
        if directory.is_dir():
            return
        directory.parent.mkdir(0o755, parents=True, exist_ok=True)
        directory.mkdir(mode)
        self.give(directory)

    def run(self, arguments: list[str], timeout_s: float) -> int:
        """Run a command of ours as the owner; return its exit status."""
        command = [sys.executable, "-m", "gatepost.cli.main", *arguments]
        who = self.who
        try:
            if who is None:
                return subprocess.run(command, check=False, timeout=timeout_s).returncode  # noqa: S603 - ourselves
            groups = os.getgrouplist(who.pw_name, who.pw_gid)
            return subprocess.run(  # noqa: S603 - ourselves
                command, check=False, timeout=timeout_s, cwd="/",
                user=who.pw_uid, group=who.pw_gid, extra_groups=groups,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotDone(f"it took longer than {timeout_s:.0f} s") from None


def find_owner(user: str) -> Owner:
    """Return whose the gateway's files are to be. NotDone: root, and there is no such user."""
    if os.geteuid() != 0 or not user:
        return Owner()
    try:
        return Owner(pwd.getpwnam(user))
    except KeyError:
        made = f"useradd --system --user-group --home-dir /var/lib/{user} --shell /usr/sbin/nologin {user}"
        raise NotDone(
            f"there is no user {user}, whom the gateway runs as. Make it: {made}; or name another one with --user"
        ) from None


class Setting(msgspec.Struct, frozen=True):
    """What all steps go by."""

    file: Path
    config: Config
    answers: Answers
    owner: Owner
    host: Host
    changed: bool
    """The configuration is another one than before."""

    @property
    def paths(self) -> Paths:
        """Files below the state directory."""
        return Paths(self.config.relay.state_path)

    def ask(self, what: str, /, **arguments: object) -> object:
        """Ask the running gateway; None when none runs."""
        if not self.paths.control.exists():
            return None
        try:
            return call(self.paths.control, what, **arguments)
        except ControlError as error:
            if what == "status":
                return None
            raise NotDone(str(error)) from None


def plan_steps(setting: Setting) -> list[Step]:
    """Return the steps that follow the configuration, in order."""
    answers, config = setting.answers, setting.config
    steps = [
        Step(f"make the directories of the gateway below {config.relay.state_path}", lambda: _directories(setting))
    ]
    if answers.licence_key:
        steps.append(Step(f"install the licence key {answers.licence_key}", lambda: _licence(setting)))
    if answers.uds_consent and config.uds.key_file and answers.uds_servers:
        steps.append(Step(f"make a key for UDS servers: {config.uds.key_file}", lambda: _uds_key(setting)))
    if answers.console and answers.console_account:
        words = f"make the account {answers.console_account} for the console"
        steps.append(Step(words, lambda: _account(setting), vital=False))
    if not answers.licence_key and find_no_licence(config):
        return steps
    if answers.update_source:
        words = f"fetch databases from {answers.update_source}"
        steps.append(Step(words, lambda: _update(setting), vital=False))
    if answers.start is not Start.NO:
        steps.append(Step(_start_words(setting), lambda: _start(setting)))
    return steps


def find_no_licence(config: Config) -> str:
    """Return why nothing may start for want of a licence, "" when all is well (row F-INST-03)."""
    try:
        standing = read_standing(config)
    except LicenceError as error:
        return f"The licence keys cannot be used: {error}."
    if standing.may_start:
        return ""
    return (
        "There is no licence key." if standing.key is None else "The trial is over, and there is no other licence key."
    )


def later(setting: Setting) -> str:
    """Return how to go on later, when there is a key."""
    lines = [
        "Databases are not updated and nothing is started. When you have a key:",
        f"  gatepost licence add KEY -c {setting.file}",
    ]
    if setting.answers.update_source:
        lines.append(f"  gatepost update -c {setting.file}")
    return "\n".join([*lines, f"  {start_command(setting)}"])


def start_command(setting: Setting) -> str:
    """Return what starts the gateway on this host."""
    if setting.host.systemd and _is_unit(SERVICE):
        return f"systemctl enable --now {SERVICE}"
    return f"gatepost start -c {setting.file}"


def write_configuration(file: Path, text: str, before: bytes | None, owner: Owner, stamp: str) -> str:
    """Put a configuration in place, the former one beside it; return what came of it."""
    if before is None:
        owner.make(file.parent, 0o750)
        replace_file(file, text.encode(), mode=_FILE_MODE)
        owner.give(file)
        return f"{file} is written"
    kept = file.with_name(f"{file.name}.{stamp}.bak")
    state = file.stat()
    replace_file(kept, before, mode=state.st_mode & 0o777, owner=state)
    rewrite_file(file, text.encode())
    return f"{file} is changed; the former one is {kept}"


def _directories(setting: Setting) -> str:
    config, owner = setting.config, setting.owner
    owner.make(Path(config.relay.state_path))
    log = config.options.log_filename
    wanted = [config.path.queue_path, config.path.license_path, config.path.incoming_archive_path]
    wanted += [config.path.outgoing_archive_path, str(Path(log).parent) if log.startswith("/") else ""]
    for each in filter(None, wanted):
        owner.make(Path(each))
    whose = f", they belong to {owner.who.pw_name}" if owner.who else ""
    return f"the directories are there{whose}"


def _licence(setting: Setting) -> str:
    licences, directory = licences_of(setting.config), Path(setting.config.path.license_path)
    try:
        raw = Path(setting.answers.licence_key).read_bytes()
        key = parse_key(raw, resolve_issuers(setting.config.licence.issuers))
        standing = licences.standing(today())
        installed = [each.serial for each in (standing.key, standing.additional) if each is not None]
        if key.serial in installed:
            return f"licence key {key.serial} is installed already"
        key, place = licences.add(raw, today())
    except LicenceError as error:
        raise NotDone(f"{error}. Nothing is started; install another key: gatepost licence add KEY") from None
    setting.owner.give(directory, *directory.iterdir())
    return f"licence key {key.serial} is installed as the {place} key"


def _uds_key(setting: Setting) -> str:
    file = Path(setting.config.uds.key_file)
    if file.exists():
        return f"there is a key for UDS servers already: {file}"
    from gatepost.cli.uds import key as make_uds_key  # noqa: PLC0415 - brings in what set-up does not need

    if make_uds_key(setting.config.network.hostname, file):
        raise NotDone(f"no key for UDS servers is made in {file}")
    setting.owner.give(file)
    return f"every UDS server needs the line that is in {file} among its keys"


def _account(setting: Setting) -> str:
    name, password = setting.answers.console_account, setting.answers.console_password
    if setting.ask("status") is not None:
        known = setting.ask("accounts.list")
        assert isinstance(known, list)
        if name in {each["name"] for each in known}:
            return f"there is an account {name} already: it stays as it is"
        setting.ask("accounts.add", name=name, role=Role.ADMIN.value, domains=[], password=_given(password, name))
        return f"the account {name} is made"
    path = setting.paths.accounts
    try:
        if AccountBook(path).get(name) is not None:
            return f"there is an account {name} already: it stays as it is"
        accounts = Accounts(path, lambda _level, _text: None)
        accounts.put(accounts.new(name, Role.ADMIN, hasher().hash(_given(password, name)), ()))
    except ControlError as error:
        raise NotDone(str(error)) from None
    setting.owner.give(path)
    return f"the account {name} is made"


def _given(password: str, name: str) -> str:
    if not password:
        raise NotDone(f"the account {name} needs a password: gatepost account add {name} --role admin")
    return password


def _update(setting: Setting) -> str:
    arguments = ["update", "-c", str(setting.file)]
    root = setting.answers.trust_root
    try:
        if root and not (setting.paths.updater / ROOT_FILE).exists():
            # A copy, for the file may be root's own. A second run must not put an earlier root in a newer one's place.
            with tempfile.NamedTemporaryFile(dir=setting.config.relay.state_path, suffix=".json") as copy:
                copy.write(Path(root).read_bytes())
                copy.flush()
                setting.owner.give(Path(copy.name))
                code = setting.owner.run([*arguments, "--trust-root", copy.name], UPDATE_S)
        else:
            code = setting.owner.run(arguments, UPDATE_S)
    except NotDone as error:
        raise NotDone(f"the databases are not updated: {error}; later: gatepost update -c {setting.file}") from None
    if code not in _UPDATED:
        what = "those that the program comes with are in force"
        raise NotDone(f"the databases are not updated (code {code}), {what}; later: gatepost update -c {setting.file}")
    return "the databases are up to date"


def _start_words(setting: Setting) -> str:
    if setting.ask("status") is not None:
        return (
            "have the running gateway take the configuration" if setting.changed else "leave the running gateway alone"
        )
    match setting.answers.start:
        case Start.DAEMON:
            return f"start the gateway: gatepost start -c {setting.file}"
        case Start.SERVICE:
            return f"start the gateway: systemctl enable --now {SERVICE}"
    command = start_command(setting)
    return f"start the gateway: {command}" if command.startswith("systemctl") else f"say how to start it: {command}"


def _start(setting: Setting) -> str:
    if reason := find_no_licence(setting.config):
        raise NotDone(f"{reason}\n{later(setting)}")
    if setting.ask("status") is not None:
        return str(setting.ask("reload")) if setting.changed else "the gateway runs"
    command = start_command(setting)
    if setting.answers.start is Start.SERVICE or (
        setting.answers.start is Start.AUTO and command.startswith("systemctl")
    ):
        units = [SERVICE, *([TIMER] if setting.answers.update_source and _is_unit(TIMER) else [])]
        if _systemctl("enable", "--now", *units):
            raise NotDone(f"the service does not start: journalctl -u {SERVICE} tells why")
        return f"the service {SERVICE} runs"
    if setting.answers.start is Start.DAEMON:
        who = setting.owner.who
        whose = ["--no-change-owner"] if who is None else ["--user", who.pw_name]
        arguments = ["start", "-c", str(setting.file), *whose]
        code = Owner().run(arguments, SYSTEMCTL_S)
        if code:
            raise NotDone(f"the gateway does not start (code {code}); its reason stands above")
        return "the gateway runs"
    return f"no systemd runs here. Start the gateway by: {command}"


def _is_unit(name: str) -> bool:
    return _systemctl("cat", name, quiet=True) == 0


def _systemctl(*words: str, quiet: bool = False) -> int:
    to = subprocess.DEVNULL if quiet else None
    command = ["systemctl", *words]
    try:
        return subprocess.run(command, check=False, timeout=SYSTEMCTL_S, stdout=to, stderr=to).returncode  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 1
