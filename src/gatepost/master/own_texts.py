"""The calls about the administrator's own texts: `texts.list`, `.show`, `.check`, `.save`, `.reset`, `.history`,
`.rollback`.

Registered by `master.process` for console and API. A text takes the place of one that ships with the product
(`notices.own_texts` says which there are and where they lie), for all groups that speak its language, or for the one
that is named as `group`. What is saved has been read as a start would read it, and is put back when the gateway goes
on with what it had. The former ones are kept.
"""

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.file_text import digest_of
from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Stale
from gatepost.master.configuration import NotReloaded
from gatepost.master.configuration_history import History, build_diff
from gatepost.notices.facts import KNOWN_MACROS
from gatepost.notices.grammar import SIZE_LIMIT, TemplateError, TemplateProblem
from gatepost.notices.own_texts import (
    DELIVERY_REPORT,
    DIRECTORY,
    TEXT_KINDS,
    TextKind,
    find_kind,
    group_folder,
    own_path,
)
from gatepost.notices.sample import build_sample
from gatepost.notices.template import parse_template, shipped_path
from gatepost.storage.whole_file import replace_file

VERSIONS: Final = "versions"
HISTORY_LIMIT: Final = 50
GROUPS_LIMIT: Final = 500
"""Groups that are offered."""
PROBLEMS_LIMIT: Final = 50
"""Faults told of one text, and warnings: a page of something else has one on every line."""
_MODE: Final = 0o640
_KNOWN: Final = frozenset(KNOWN_MACROS)


class _Said(enum.Enum):
    """What a group says."""

    GENERAL = enum.auto()
    """The text of all groups, its language's."""
    APART = enum.auto()
    """Its own, of the console."""
    ELSEWHERE = enum.auto()
    """What its parameter names."""
    NOT = enum.auto()
    """It speaks another language."""


class _Place(msgspec.Struct, frozen=True):
    """One text: its file, its versions, and what the product says in its place."""

    kind: TextKind
    language: str
    group: str
    """"" = all."""
    file: Path
    general: Path
    """That of all groups."""
    history: History

    @property
    def otherwise(self) -> str:
        """What is said where there is no own text here."""
        own = _read(self.general) if self.group else ""
        return own or shipped_path(self.kind.name, self.language).read_text(encoding="utf-8")

    def read(self) -> str:
        """Return the own text, "" where there is none."""
        return _read(self.file)

    def write(self, text: str) -> None:
        """Put `text` there, "" for nothing. OSError."""
        if not text:
            self.file.unlink(missing_ok=True)
            return
        self.file.parent.mkdir(0o750, parents=True, exist_ok=True)
        replace_file(self.file, text.encode(), mode=_MODE)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT + 1).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from error


class OwnTexts:
    """The own texts of one gateway."""

    def __init__(
        self,
        config: Callable[[], Config],
        reload: Callable[[], Awaitable[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`config`: in force. `reload` raises NotReloaded when it stays, another ControlError when not all is new."""
        self._config = config
        self._reload = reload
        self._clock = clock
        self._turn = asyncio.Lock()
        self._looking = asyncio.Lock()

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        desk.add("texts.list", Right.CONFIGURATION, self._list)
        desk.add("texts.show", Right.CONFIGURATION, self._show)
        desk.add("texts.check", Right.CONFIGURATION, self._check)
        desk.add("texts.history", Right.CONFIGURATION, self._versions)
        desk.add("texts.save", Right.CONFIGURE, self._save, audited=True, noted=_noted)
        desk.add("texts.reset", Right.CONFIGURE, self._reset, audited=True)
        desk.add("texts.rollback", Right.CONFIGURE, self._roll_back, audited=True)

    def _place(self, arguments: Arguments) -> _Place:
        name, language = str(arguments.get("name", "")), str(arguments.get("language", ""))
        kind, group = find_kind(name, language), str(arguments.get("group", ""))
        if kind is None or (group and (kind is DELIVERY_REPORT or group not in self._group_names())):
            raise NotThere("there is no such text")
        return self._place_of(kind, language, group)

    def _group_names(self) -> list[str]:
        return [group.name for group in self._config().groups]

    def _place_of(self, kind: TextKind, language: str, group: str = "") -> _Place:
        directory = Path(self._config().relay.state_path) / DIRECTORY
        versions = directory / VERSIONS / f"{kind.name}-{language}"
        if group:
            versions = versions / group_folder(group)
        general = own_path(directory, kind, language)
        return _Place(kind, language, group, own_path(directory, kind, language, group), general, History(versions))

    async def _list(self, _: Arguments, __: Caller) -> Any:
        """Return every text of all groups: {"name", "language", "title", "html", "own", …}."""
        return await asyncio.to_thread(
            lambda: [self._row(self._place_of(kind, language)) for kind in TEXT_KINDS for language in kind.languages]
        )

    def _row(self, place: _Place) -> dict[str, Any]:
        """`used_by`: groups that say it; `elsewhere`: those whose parameter names another file; `apart`: those with a
        text of their own here.
        """
        said = {group: self._said(place, group, path) for group, path in self._named(place)}
        if place.group:
            said = {place.group: said.get(place.group, _Said.NOT)}
        mine = _Said.APART if place.group else _Said.GENERAL
        return {
            "name": place.kind.name,
            "language": place.language,
            "group": place.group,
            "title": place.kind.title,
            "parameter": place.kind.parameter,
            "html": place.kind.html,
            "own": bool(place.read()),
            "used_by": [group for group, which in said.items() if which is mine],
            "elsewhere": [group for group, which in said.items() if which is _Said.ELSEWHERE],
            "apart": [group for group, which in said.items() if which is _Said.APART],
        }

    def _named(self, place: _Place) -> list[tuple[str, str]]:
        """Return the groups that speak the language of a text, and the files they name; "" is the gateway itself."""
        config, kind = self._config(), place.kind
        if kind is DELIVERY_REPORT:
            return [("", config.options.dsn_template)]
        groups = (group for group in config.groups if group.text_language == place.language)
        return [(group.name, getattr(group, kind.parameter)) for group in groups]

    def _said(self, place: _Place, group: str, path: str) -> _Said:
        if path in ("", str(place.general)):
            return _Said.GENERAL
        own = self._place_of(place.kind, place.language, group).file if group else None
        return _Said.APART if own is not None and path == str(own) else _Said.ELSEWHERE

    async def _show(self, arguments: Arguments, _: Caller) -> Any:
        """Return the row of one text with "text", own or what is said without it, the "digest" of the own one, and the
        "groups" that speak its language and so can have one of their own.
        """
        place = self._place(arguments)

        def read() -> dict[str, Any]:
            own = place.read()
            groups = [group for group, _ in self._named(place) if group]
            shown = {"text": own or place.otherwise, "digest": digest_of(own), "groups": groups[:GROUPS_LIMIT]}
            return {**self._row(place), **shown}

        return await asyncio.to_thread(read)

    async def _check(self, arguments: Arguments, _: Caller) -> Any:
        """Return {"faults", "warnings": [{"line", "column", "what"}], "fields", "text", "html"}: the last three are
        what the text makes of a sample where it has no faults.
        """
        return await self._look(self._place(arguments).kind, str(arguments["text"]))

    async def _look(self, kind: TextKind, text: str) -> dict[str, Any]:
        """One at a time: one text is no work, as many as somebody likes to send at once could be."""
        async with self._looking:
            return await asyncio.to_thread(_look, kind, text)

    async def _versions(self, arguments: Arguments, _: Caller) -> Any:
        """Return the newest versions (`limit`), or version `number` with what it changed."""
        place, number = self._place(arguments), arguments.get("number")

        def diff(before: str, after: str) -> str:
            return build_diff(before or place.otherwise, after or place.otherwise, "before", "after")

        def rows() -> list[Any]:
            limit = min(HISTORY_LIMIT, int(arguments.get("limit", HISTORY_LIMIT)))
            return place.history.rows(digest_of(place.read()), None if number is None else int(number), limit, diff)

        return await asyncio.to_thread(rows)

    async def _save(self, arguments: Arguments, caller: Caller) -> Any:
        """Put `text` in the place of the own text with this `digest`, and in force. Stale, ControlError."""
        place = self._place(arguments)
        text = str(arguments["text"]).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        if not text.strip():
            raise ControlError("an empty text: a line with a # and a word of why says the same, on purpose")
        return await self._put(place, f"{text}\n", arguments, caller)

    async def _reset(self, arguments: Arguments, caller: Caller) -> Any:
        """Go back to what is said without the own text: the product's own, or that of all groups."""
        place = self._place(arguments)
        back = "the text of all groups" if place.group else "the product's own text"
        return await self._put(place, "", {**arguments, "comment": str(arguments.get("comment") or back)}, caller)

    async def _roll_back(self, arguments: Arguments, caller: Caller) -> Any:
        """Go back to version `number`."""
        place = self._place(arguments)
        version = await asyncio.to_thread(place.history.read, int(arguments["number"]))
        if version is None:
            raise NotThere(f"version {arguments['number']} is not kept")
        why = {**arguments, "comment": str(arguments.get("comment") or f"back to version {version.number}")}
        return await self._put(place, version.text, why, caller)

    async def _put(self, place: _Place, text: str, arguments: Arguments, caller: Caller) -> Any:
        found = await self._look(place.kind, text)
        if found["faults"]:
            first = found["faults"][0]
            raise ControlError(f"line {first['line']}, column {first['column']}: {first['what']}")
        async with self._turn:
            before = await asyncio.to_thread(place.read)
            if digest_of(before) != str(arguments.get("digest", "")):
                raise Stale("the text has been changed since: look at it anew")
            number = await asyncio.to_thread(self._keep, place, before, text, arguments, caller)
            try:
                await asyncio.to_thread(place.write, text)
                told = await self._reload()
            except NotReloaded:
                await asyncio.to_thread(_go_back, place, number, before)
                raise
            except OSError as error:
                await asyncio.to_thread(place.history.drop, number)
                raise ControlError(f"{place.file}: {error.strerror}") from error
        return {"number": number, "digest": digest_of(text), "told": told}

    def _keep(self, place: _Place, before: str, text: str, arguments: Arguments, caller: Caller) -> int:
        try:
            if before or place.history.numbers():
                place.history.note_found(before, self._clock())
            return place.history.add(
                text, at=self._clock(), who=caller.name, via=caller.via, comment=str(arguments.get("comment", ""))
            )
        except OSError as error:
            raise ControlError(f"versions of {place.file}: {error.strerror}") from error


def _go_back(place: _Place, number: int, before: str) -> None:
    try:
        place.write(before)
        place.history.drop(number)
    except OSError as error:
        raise ControlError(f"{place.file}: {error.strerror}; it holds a text that is not in force") from error


def _look(kind: TextKind, text: str) -> dict[str, Any]:
    """What `texts.check` answers. A text is read and filled in within bounds (`notices.template`); "" has no faults."""
    try:
        template = parse_template(text.encode("utf-8", "replace"))
    except TemplateError as error:
        return {"faults": _told(error.problems), "warnings": [], "fields": [], "text": "", "html": ""}
    warnings = (*template.tree.warnings, *template.unknown_macros(_KNOWN))
    shown = build_sample(kind, template)
    return {
        "faults": [],
        "warnings": _told(sorted(warnings, key=lambda problem: (problem.line, problem.column))),
        "fields": [{"name": name, "value": value} for name, value in shown.fields],
        "text": shown.text,
        "html": shown.html,
    }


def _told(problems: "tuple[TemplateProblem, ...] | list[TemplateProblem]") -> list[dict[str, Any]]:
    return [msgspec.structs.asdict(problem) for problem in problems[:PROBLEMS_LIMIT]]


def _noted(arguments: Arguments) -> Mapping[str, Any]:
    """Return what the audit log has of a save: the version that is kept has the text."""
    told = {name: str(arguments.get(name, "")) for name in ("name", "language", "group", "comment")}
    return {**told, "characters": len(str(arguments.get("text", "")))}
