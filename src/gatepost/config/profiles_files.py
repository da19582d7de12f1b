"""A rule set as files: reading the native form, with everything that is wrong, and building it again.

The directory holds `profiles.toml` (order and activation, order of lists), `profiles/*.toml`, `hidden.toml`,
`emails/*.toml`, `iplists/*.toml`, `dnsbl/*.toml`, `samples/*.toml` and `settings.toml`; what each may say are the
values of `model.profile`. Called by `config.assemble`, `gatepost rules` and the console. What was read and is built
again reads back equal. Reading never raises for what files hold.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

import gatepost
from gatepost.config.problem import Problem, Severity
from gatepost.config.profiles_check import FILE_NAME, check_rule_set
from gatepost.config.profiles_faults import find_faults
from gatepost.model.profile import (
    UPDATE_MARKER,
    AddressList,
    DnsList,
    NetworkList,
    Profile,
    ProfileRef,
    RuleSet,
    RuleSettings,
    Sample,
)

SHIPPED: Final = Path(gatepost.__file__).parent / "policy" / "rule_set"
"""The shipped set, in force while there is no directory of one's own."""
STAGED: Final = ".next"
"""A complete set below the directory that is being put in its place: it counts already (`master.profiles_store`)."""
FILE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of one file: a list of 100,000 addresses fits."""
FILES_LIMIT: Final = 20_000
"""Files of one directory that are looked at."""
_INLINE_LENGTH: Final = 100
"""Longer arrays are written with one element a line."""

_Value = TypeVar("_Value", bound=msgspec.Struct)


class _Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`profiles.toml`."""

    common: tuple[ProfileRef, ...] = ()
    personal: tuple[ProfileRef, ...] = ()
    emails: tuple[str, ...] = ()
    iplists: tuple[str, ...] = ()
    dnsbl: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    """Files of lists and samples in the order in which they are shown; those not named follow by name."""


def read_rule_set(directory: Path) -> tuple[RuleSet, tuple[Problem, ...]]:
    """Return the set of a directory and everything wrong with it; with an error among it the set is not to be used.
    `SHIPPED` is read where there is no such directory.
    """
    if (directory / STAGED).is_dir():
        directory /= STAGED
    elif not directory.is_dir():
        directory = SHIPPED
    reader = _Reader(directory)
    rules = reader.read()
    if any(problem.severity is Severity.ERROR for problem in reader.problems):
        return rules, tuple(reader.problems)
    return rules, (*reader.problems, *check_rule_set(rules, str(directory)))


class _Reader:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.problems: list[Problem] = []

    def read(self) -> RuleSet:
        if not self._root.is_dir():
            self._note(self._root, "", "there is no rule set", "Make one with the console or gatepost rules import")
            return RuleSet()
        order = self._read_one("profiles.toml", _Order, needed=True) or _Order()
        return RuleSet(
            hidden=self._read_hidden(),
            common=order.common,
            personal=order.personal,
            profiles=self._read_all("profiles", Profile, ()),
            emails=self._read_all("emails", AddressList, order.emails),
            iplists=self._read_all("iplists", NetworkList, order.iplists),
            dnsbl=self._read_all("dnsbl", DnsList, order.dnsbl),
            samples=self._read_all("samples", Sample, order.samples),
            settings=self._read_one("settings.toml", RuleSettings) or RuleSettings(),
        )

    def _read_hidden(self) -> Profile | None:
        """Return the hidden profile: with the marker of updates in it always the one that came with the product."""
        own = self._read_one("hidden.toml", Profile)
        if own is None or not own.comment.startswith(UPDATE_MARKER) or self._root == SHIPPED:
            return own
        return _Reader(SHIPPED)._read_one("hidden.toml", Profile) or own

    def _note(self, file: Path, place: str, what: str, mend: str) -> None:
        self.problems.append(Problem(Severity.ERROR, str(file), 0, "", place, what, mend=mend))

    def _read_all(self, name: str, kind: type[_Value], order: tuple[str, ...]) -> dict[str, _Value]:
        directory = self._root / name
        files: list[str] = []
        try:
            found = sorted(directory.iterdir()) if directory.is_dir() else []
        except OSError as error:
            self._note(directory, "", f"cannot be read: {error.strerror}", "Let the gateway's user read it")
            return {}
        if len(found) > FILES_LIMIT:
            self._note(directory, "", f"{len(found)} files", f"Keep to {FILES_LIMIT}")
            return {}
        for path in found:
            if path.suffix != ".toml":
                continue
            if FILE_NAME.match(path.stem) is None:
                self._note(path, "", "the file's name is none", "Use letters, digits, '-', '_' and '.'")
            else:
                files.append(path.stem)
        known = set(files)
        read: dict[str, _Value] = {}
        for file in (*(each for each in dict.fromkeys(order) if each in known), *files):
            if file not in read:
                value = self._read_one(f"{name}/{file}.toml", kind)
                if value is not None:
                    read[file] = value
        for file in order:
            if file not in known:
                self._note(self._root / "profiles.toml", name, f"there is no {name}/{file[:100]}.toml", "Take it out")
        return read

    def _read_one(self, name: str, kind: type[_Value], *, needed: bool = False) -> _Value | None:
        path = self._root / name
        try:
            with path.open("rb") as file:
                raw = file.read(FILE_LIMIT + 1)
        except FileNotFoundError:
            if needed:
                self._note(path, "", "there is no such file", "It names the profiles in their order")
            return None
        except OSError as error:
            self._note(path, "", f"cannot be read: {error.strerror}", "Let the gateway's user read it")
            return None
        if len(raw) > FILE_LIMIT:
            self._note(path, "", f"longer than {FILE_LIMIT} bytes", "Divide it")
            return None
        try:
            table = tomllib.loads(raw.decode())
            return msgspec.convert(table, kind)
        except UnicodeDecodeError:
            self._note(path, "", "not UTF-8", "Save it as UTF-8")
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            self._note(path, "", f"not TOML: {error}", "Text values stand in quotes; lists in [ ]")
        except msgspec.ValidationError:
            for fault in find_faults(table, kind):
                self._note(path, fault.place, fault.what, fault.mend)
        return None


def build_files(rules: RuleSet) -> dict[str, str]:
    """Return the files of a set: text by path below its directory."""
    order = _Order(
        common=rules.common,
        personal=rules.personal,
        emails=tuple(rules.emails),
        iplists=tuple(rules.iplists),
        dnsbl=tuple(rules.dnsbl),
        samples=tuple(rules.samples),
    )
    files = {"profiles.toml": _build(order), "settings.toml": _build(rules.settings)}
    if rules.hidden is not None:
        files["hidden.toml"] = _build(rules.hidden)
    directories: dict[str, Mapping[str, msgspec.Struct]] = {
        "profiles": rules.profiles,
        "emails": rules.emails,
        "iplists": rules.iplists,
        "dnsbl": rules.dnsbl,
        "samples": rules.samples,
    }
    for directory, values in directories.items():
        for file, value in values.items():
            files[f"{directory}/{file}.toml"] = _build(value)
    return files


def _build(value: msgspec.Struct) -> str:
    return "".join(_lines(msgspec.to_builtins(value)))


def _lines(table: dict[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if not _is_tables(value):
            yield f"{key} = {_write(value)}\n"
    for key, value in table.items():
        if _is_tables(value):
            for each in value:
                yield f"\n[[{key}]]\n"
                for name, held in each.items():
                    yield f"{name} = {_write(held)}\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict)


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_write(held)}" for key, held in value.items()) + " }"
    parts = [_write(each) for each in value]
    row = ", ".join(parts)
    if len(row) <= _INLINE_LENGTH:
        return f"[{row}]"
    return "[\n" + "".join(f"  {part},\n" for part in parts) + "]"


def _string(text: str) -> str:
    """Return a TOML string; an expression with backslashes stays readable as a literal one."""
    if "\\" in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
