"""What another installation's configuration becomes here: the values it sets, with paths below our own state directory.

`plan_takeover` reads the documented `.conf` file, or one of ours, and says what goes where; `taking` carries it out.
Nothing of the other installation is changed, and nothing of it is referred to afterwards: it can be removed.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.dump import build_conversion
from gatepost.config.load import Loaded, load
from gatepost.config.parameter import Kind
from gatepost.config.schema import FIELDS, SECTIONS, Config
from gatepost.migration.plan import MigrationError
from gatepost.storage.item import StoreKind
from gatepost.storage.places import store_places

FOLDER: Final = "taken-over"
"""Below the state directory: templates that the configuration names ..."""
SECRETS: Final = "taken-over-keys"
"""... and keys, certificates and lists, which console and interface may not read by way of a template."""
_INPUTS: Final = frozenset(
    (
        "tls_cert",
        "tls_key",
        "client_ca",
        "known_recipients_file",
        "password_file",
        "ca_file",
        "client_cert",
        "client_key",
        "key_file",
    )
)
"""Files that are only read, besides templates."""
_OWN_BASES: Final = "databases have another form here: gatepost update fetches them"
_NAMES: Final = {"incoming_archive_path": "archive-in", "outgoing_archive_path": "archive-out"}
"""Directories below the state directory of what has no default there."""
_SINGLE: Final = tuple(section.name for section in SECTIONS if not section.array and section.name != "licence_daemon")
"""Sections with paths of files; those of the licensing daemon are addresses."""


class Source(msgspec.Struct, frozen=True):
    """One directory with mail, and the store of ours that it goes to."""

    directory: Path
    kind: StoreKind | None
    """None: the queue."""
    target: str


class Takeover(msgspec.Struct, frozen=True):
    """What is to be taken over."""

    text: str
    """The new configuration file."""
    config: Config
    """What it means."""
    sources: tuple[Source, ...]
    files: tuple[tuple[Path, Path], ...]
    """(from, to) of what is copied beside mail."""
    left: tuple[tuple[str, str], ...]
    """What is not taken, and why."""


def plan_takeover(file: Path, state: Path) -> Takeover:
    """Return what becomes of an installation. MigrationError: its configuration has errors."""
    before = _load(file)
    assert before.config is not None
    if Path(before.state_path) == state and before.config.path.queue_path.startswith(f"{state}/"):
        raise MigrationError(f"{file} is of the gateway in {state} itself: gatepost migrate brings its format up")
    paths = _Paths(state)
    overrides = [f"relay.state_path={state}"]
    for section in _SINGLE:
        overrides += _overrides(section, section, before.config, before, paths)
    for group in before.config.groups[:-1]:
        overrides += _group_overrides(group.name, group, before.config.groups[-1], paths)
    log = before.config.options.log_filename
    if log not in {"", "syslog"}:
        overrides.append(f"options.log_filename={state / 'log' / 'gatepost.log'}")
    after = load(file, overrides)
    if after.config is None:
        raise MigrationError("\n".join(str(problem) for problem in after.errors))
    config = _move_tables(after.config, paths)
    return Takeover(
        build_conversion(after, config),
        config,
        tuple(_sources(before.config, paths, state)),
        tuple(paths.files.items()),
        tuple(_left(before.config, paths)),
    )


def _load(file: Path) -> Loaded:
    loaded = load(file)
    if loaded.config is None:
        raise MigrationError("\n".join(str(problem) for problem in loaded.errors))
    return loaded


class _Paths:
    """Where the paths of the other installation lead here: each to one place, no two to the same."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.targets: dict[str, str] = {}
        """Old path → new."""
        self.files: dict[Path, Path] = {}
        self.missing: list[str] = []

    def find(self, name: str, value: str, derived: str) -> str:
        """Return the new value of the path parameter `name`."""
        if value in self.targets:
            return self.targets[value]
        if name.endswith("_template") or name in _INPUTS:
            folder = FOLDER if name.endswith("_template") else SECRETS
            new = self._unused(self._state / folder / Path(value).name)
            if Path(value).is_file():
                self.files[Path(value)] = Path(new)
            else:
                self.missing.append(value)
        elif derived:
            new = self._unused(Path(derived.format(state=self._state)))
        else:
            new = self._unused(self._state / _NAMES.get(name, Path(value).name))
        self.targets[value] = new
        return new

    def _unused(self, path: Path) -> str:
        taken = set(self.targets.values())
        tries = [path, *(path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, len(taken) + 3))]
        return next(str(each) for each in tries if str(each) not in taken)


def _overrides(section: str, place: str, config: Config, loaded: Loaded, paths: _Paths) -> list[str]:
    struct: object = config
    for part in section.split("."):
        struct = getattr(struct, part)
    found = []
    for field in FIELDS[section]:
        value = getattr(struct, field.name)
        given = f"{section}.{field.name}" in loaded.origins
        if field.parameter.kind is Kind.PATH and given and value and field.name != "state_path":
            found.append(f"{place}.{field.name}={paths.find(field.name, value, field.parameter.derived)}")
    return found


def _group_overrides(name: str, group: object, policy: object, paths: _Paths) -> list[str]:
    """Return those of a group that has paths of its own: others follow the policy."""
    found = []
    for field in FIELDS["group"]:
        value = getattr(group, field.name, "")
        if field.parameter.kind is Kind.PATH and value and value != getattr(policy, field.name):
            found.append(f"group:{name}.{field.name}={paths.find(field.name, value, field.parameter.derived)}")
    return found


def _move_tables(config: Config, paths: _Paths) -> Config:
    """Return the configuration with the paths in its tables that stand in arrays led here, too."""

    def moved(section: str, tables: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [field.name for field in FIELDS[section] if field.parameter.kind is Kind.PATH]
        return tuple(
            msgspec.structs.replace(
                table, **{name: paths.find(name, value, "") for name in names if (value := getattr(table, name))}
            )
            for table in tables
        )

    return msgspec.structs.replace(
        config, doors=moved("door", config.doors), tls_policies=moved("tls_policy", config.tls_policies)
    )


def _sources(config: Config, paths: _Paths, state: Path) -> list[Source]:
    """Return the directories with mail: the queue first, each store once; none of ours."""
    places = [(None, config.path.queue_path), *((place.kind, place.directory) for place in store_places(config))]
    return [
        Source(Path(directory), kind, paths.targets[directory])
        for kind, directory in places
        if directory in paths.targets and Path(directory).is_dir() and not Path(directory).is_relative_to(state)
    ]


def _left(config: Config, paths: _Paths) -> list[tuple[str, str]]:
    left = [(name, "the configuration names it, and it is not there") for name in paths.missing]
    for directory in (config.path.bases_path, config.path.as_bases_path):
        left += [(directory, _OWN_BASES)] if Path(directory).is_dir() else []
    if Path(config.path.license_path).is_dir():
        left += [
            (str(path), "keys are added, and checked, one by one: gatepost licence add FILE")
            for path in sorted(Path(config.path.license_path).iterdir())
            if path.is_file()
        ]
    return left
