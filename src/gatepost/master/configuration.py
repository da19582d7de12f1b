"""The configuration by call: what it says and where from, drafts, check, apply, history, roll-back.

Registered at the desk for console, API and command line alike (row F-WEB-01, F-WEB-05). A change is made in the file
itself: checked as a start would check it, written whole, taken by a reload; what the reload does not take is undone.
What only the file may set (`config.guarding`) is refused here, whoever asks.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.description import describe_schema, describe_values
from gatepost.config.editing import CHANGES_LIMIT, Change, EditError, Verb, edit, find_places
from gatepost.config.external import MAX_FILE_BYTES
from gatepost.config.file_text import FileText, decode_file, digest_of
from gatepost.config.guarding import find_refusal
from gatepost.config.load import Loaded, choose_form, load_text
from gatepost.config.parameter import Field, Guard
from gatepost.config.problem import Problem, Severity
from gatepost.config.schema import FIELDS, SECTION_BY_NAME
from gatepost.config.withheld import find_new_guarded, mask_secrets, without_secrets
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Stale
from gatepost.master.configuration_history import (
    COMMENT_LIMIT,
    History,
    VersionRow,
    build_diff,
)
from gatepost.master.paths import Paths
from gatepost.master.settings import find_fault
from gatepost.storage.whole_file import rewrite_file

DRAFTS_LIMIT: Final = 50
"""People who have something unsaved at once."""
_KEPT_IN_GROUPS: Final = frozenset({"name", "senders", "recipients", "directions"})
"""What makes a group the group it is: its defaults are no wish of anybody."""


class NotReloaded(ControlError):  # noqa: N818 - an answer
    """The gateway goes on with what it had: nothing of the file was taken."""


class FieldProblem(msgspec.Struct, frozen=True):
    """A problem at its field."""

    severity: str
    section: str
    item: int
    name: str
    what: str
    allowed: str = ""
    mend: str = ""
    line: int = 0


class _Draft(msgspec.Struct):
    digest: str
    changes: list[Change]


class _Outcome(msgspec.Struct, frozen=True):
    """What changes would make."""

    before: FileText
    text: str
    loaded: Loaded | None
    problems: list[FieldProblem]

    @property
    def broken(self) -> bool:
        return any(problem.severity == Severity.ERROR for problem in self.problems)


class Configuration:
    """Calls about the configuration."""

    def __init__(
        self,
        *,
        file: Path,
        overrides: Sequence[str],
        state_path: str,
        reload: Callable[[], Awaitable[str]],
        say: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`reload` raises NotReloaded when nothing changed, another ControlError when not all of it is in force."""
        self._file = file
        self._overrides = tuple(overrides)
        self._state_path = state_path
        self._reload = reload
        self._say = say
        self._clock = clock
        self._history = History(Paths(state_path).configuration)
        self._drafts: dict[str, _Draft] = {}
        self._turn = asyncio.Lock()

    def register(self, desk: Desk) -> None:
        """Register the calls. What the file says at the start is kept, so that there is a copy should it be lost."""
        try:
            self._history.note_found(self._read().text, self._clock())
        except (OSError, ControlError) as error:
            self._say("W", f"configuration: no copy of {self._file} can be kept: {error}")
        see, change = Right.CONFIGURATION, Right.CONFIGURE
        desk.add("configuration.schema", see, self._schema)
        desk.add("configuration.values", see, self._values)
        desk.add("configuration.check", see, self._check)
        desk.add("configuration.history", see, self._show_history)
        desk.add("configuration.draft", change, self._take_draft)
        desk.add("configuration.reset", change, self._reset)
        desk.add("configuration.apply", change, self._apply, audited=True, noted=_noted)
        desk.add("configuration.default", change, self._default, audited=True)
        desk.add("configuration.rollback", change, self._rollback, audited=True)

    # --- seeing

    async def _schema(self, _: Arguments, __: Caller) -> Any:
        return describe_schema(choose_form(str(self._file)))

    async def _values(self, arguments: Arguments, caller: Caller) -> Any:
        """Values of the file; with `draft` with the caller's unsaved changes in it."""
        changes = self._draft_of(caller).changes if arguments.get("draft") else []
        outcome = await asyncio.to_thread(self._try, changes)
        text = outcome.text  # as it was, when the draft cannot be made of it any more
        loaded = await asyncio.to_thread(self._load, text) if outcome.loaded is None else outcome.loaded
        values = await asyncio.to_thread(describe_values, loaded, text)
        return {
            "file": str(self._file),
            "form": loaded.form,
            "digest": outcome.before.digest,
            "why_not_writable": self._why_not_writable(),
            "state_path": self._state_path,
            "overrides": list(self._overrides),
            "sections": values.sections,
            "problems": outcome.problems,
            "changes": len(changes),
        }

    async def _check(self, arguments: Arguments, caller: Caller) -> Any:
        """What changes (`changes`, else the caller's draft) would do: problems at their fields, and the difference."""
        changes = self._changes(arguments, caller)
        outcome = await asyncio.to_thread(self._try, changes, str(arguments.get("digest", "")))
        return self._tell(outcome)

    def _tell(self, outcome: _Outcome) -> dict[str, Any]:
        return {
            "problems": outcome.problems,
            "diff": self._diff(outcome.before.text, outcome.text),
            "changed": outcome.text != outcome.before.text,
            "digest": outcome.before.digest,
            "why_not_writable": self._why_not_writable(),
        }

    async def _show_history(self, arguments: Arguments, _: Caller) -> Any:
        """The newest versions (`limit`), without what they changed; with `number` that one, with it."""
        return await asyncio.to_thread(self._read_history, arguments.get("number"), int(arguments.get("limit", 50)))

    def _read_history(self, number: int | None, limit: int) -> list[VersionRow]:
        return self._history.rows(self._read().digest, number, limit, self._diff)

    # --- drafts

    async def _take_draft(self, arguments: Arguments, caller: Caller) -> Any:
        """Add `changes` to what the caller has not applied yet. What cannot be edited at all is not kept, and told."""
        draft = self._draft_of(caller)
        fresh = _convert(arguments.get("changes"))
        changes = merge_changes(draft.changes, fresh)
        outcome = await asyncio.to_thread(self._try, changes)
        if outcome.loaded is not None:
            self._keep_draft(caller, outcome, changes)
        return {**self._tell(outcome), "kept": outcome.loaded is not None, "changes": len(changes)}

    def _keep_draft(self, caller: Caller, outcome: _Outcome, changes: list[Change]) -> None:
        if outcome.text == outcome.before.text:
            self._drafts.pop(caller.name, None)
            return
        self._drafts[caller.name] = _Draft(outcome.before.digest, changes)
        while len(self._drafts) > DRAFTS_LIMIT:
            self._drafts.pop(next(iter(self._drafts)))

    async def _reset(self, _: Arguments, caller: Caller) -> Any:
        """Forget the caller's draft."""
        self._drafts.pop(caller.name, None)
        return "reset"

    def _draft_of(self, caller: Caller) -> _Draft:
        return self._drafts.get(caller.name) or _Draft("", [])

    def _changes(self, arguments: Arguments, caller: Caller) -> list[Change]:
        given = arguments.get("changes")
        return list(self._draft_of(caller).changes) if given is None else _convert(given)

    # --- changing

    async def _apply(self, arguments: Arguments, caller: Caller) -> Any:
        """Write `changes`, else the draft, and take them into use. `digest`: of the text they were made for."""
        own = arguments.get("changes") is None
        changes = self._changes(arguments, caller)
        if not changes:
            raise ControlError("there is nothing to apply")
        digest = self._draft_of(caller).digest if own else str(arguments.get("digest", ""))
        async with self._turn:
            outcome = await asyncio.to_thread(self._try, changes, digest)
            answer = await self._put(outcome, caller, str(arguments.get("comment", "")))
        if own:
            self._drafts.pop(caller.name, None)
        return answer

    async def _default(self, arguments: Arguments, caller: Caller) -> Any:
        """Have the file say nothing of a parameter (`section`, `item`, `name`), or of all of a section: defaults, in
        a group the policy's values, count. `draft` true: as a draft, to be applied later.
        """
        section, item = str(arguments["section"]), int(arguments.get("item", 0))
        name = str(arguments.get("name", ""))
        if section not in SECTION_BY_NAME:
            raise ControlError(f"there is no section {section[:60]!r}")
        before = await asyncio.to_thread(self._try, self._draft_of(caller).changes if arguments.get("draft") else [])
        loaded = await asyncio.to_thread(self._load, before.text)
        tables = describe_values(loaded, before.text).sections[section]
        if item >= len(tables):
            raise ControlError(f"[{section}] has no table number {item + 1}")
        names = (
            [name]
            if name
            else [
                field.name
                for field in FIELDS[section]
                if tables[item][field.name].source == "file"
                and not (section == "group" and field.name in _KEPT_IN_GROUPS)
            ]
        )
        changes = [Change(section, each, Verb.UNSET, item=item) for each in names]
        raw = msgspec.to_builtins(changes)
        if arguments.get("draft"):
            return await self._take_draft({"changes": raw}, caller)
        if not changes:
            return {"number": 0, "diff": "", "answer": "nothing of it is set", "problems": []}
        comment = f"[{section}] {name} by default".replace("  ", " ")
        return await self._apply({"changes": raw, "digest": before.before.digest, "comment": comment}, caller)

    async def _rollback(self, arguments: Arguments, caller: Caller) -> Any:
        """Put version `number` in the file's place and take it into use."""
        number = int(arguments["number"])
        async with self._turn:
            outcome = await asyncio.to_thread(self._try_version, number, str(arguments.get("digest", "")))
            comment = str(arguments.get("comment", "")) or f"back to version {number}"
            return await self._put(outcome, caller, comment)

    def _try_version(self, number: int, digest: str) -> _Outcome:
        version = self._history.read(number)
        if version is None:
            raise NotThere(f"version {number} is not kept")
        before = self._read(digest)
        guarded = find_new_guarded(before.text, version.text, str(self._file), self._state_path)
        if guarded:
            raise ControlError(
                f"version {number} sets {guarded} otherwise than the file does now; only the file itself can set that: "
                "put it there first, or edit the file by hand"
            )
        loaded = self._load(version.text)
        return _Outcome(before, version.text, loaded, self._problems(version.text, loaded))

    def _try(self, changes: Sequence[Change], digest: str = "") -> _Outcome:
        """Return what changes would make of the file; one that cannot be made is a problem. ControlError: the file
        cannot be read, or is not what it was.
        """
        before = self._read(digest)
        try:
            for change in changes:
                self._refuse(change)
            text = edit(before.text, str(self._file), changes) if changes else before.text
        except EditError as error:
            problem = FieldProblem(Severity.ERROR, error.section, max(0, error.item), error.name, str(error))
            return _Outcome(before, before.text, None, [problem])
        loaded = self._load(text)
        return _Outcome(before, text, loaded, self._problems(text, loaded))

    def _refuse(self, change: Change) -> None:
        field = next((each for each in FIELDS.get(change.section, ()) if each.name == change.name), None)
        if change.verb is Verb.ADD:
            field = next((each for each in FIELDS.get(change.section, ()) if each.name == "name"), None)
        if field is not None and change.verb in (Verb.SET, Verb.ADD):
            refusal = find_refusal(field, change.value, self._state_path) or self._refuse_itself(field, change.value)
            if refusal:
                raise EditError(f"[{change.section}] {field.name}: {refusal}", change.section, change.item, field.name)

    def _refuse_itself(self, field: Field, value: object) -> str:
        """Return why a parameter may not name the configuration file: a log would be written into it, and be shown."""
        names = field.parameter.guard is Guard.STATE and isinstance(value, str) and value.startswith("/")
        return "the configuration file itself" if names and Path(str(value)).resolve() == self._file.resolve() else ""

    def _load(self, text: str) -> Loaded:
        return load_text(text, str(self._file), overrides=self._overrides)

    def _problems(self, text: str, loaded: Loaded) -> list[FieldProblem]:
        """Return the problems at their fields, those of files it names among them."""
        found = list(loaded.problems)
        if loaded.config is not None:
            fault = find_fault(loaded.config)
            if fault:
                found.append(Problem(Severity.ERROR, loaded.file, 0, "", "", fault))
        place_of = find_places(text, str(self._file)) if loaded.readable else lambda _: None
        rows = []
        for problem in found:
            place = place_of(problem.line) if problem.line and problem.file == str(self._file) else None
            same = place is not None and place.section == problem.section
            rows.append(
                FieldProblem(
                    problem.severity,
                    problem.section,
                    place.item if place is not None and same else 0,
                    place.name if place is not None and same and place.name else problem.name,
                    problem.what,
                    problem.allowed,
                    problem.mend,
                    problem.line,
                )
            )
        return rows

    def _read(self, digest: str = "") -> FileText:
        try:
            with self._file.open("rb") as stream:
                raw = stream.read(MAX_FILE_BYTES)
        except OSError as error:
            raise ControlError(f"{self._file} cannot be read: {error.strerror or error}") from error
        found = decode_file(raw)
        if digest and digest != found.digest:
            raise Stale(
                f"{self._file} has been changed by somebody else since: look at it as it is now, then change it"
            )
        return found

    async def _put(self, outcome: _Outcome, caller: Caller, comment: str) -> dict[str, Any]:
        """Write what was tried, and reload. ControlError: the file is what it was before."""
        errors = [problem for problem in outcome.problems if problem.severity == Severity.ERROR]
        if errors:
            told = "\n".join(
                f"[{each.section}] {each.name}: {each.what}" if each.section else each.what for each in errors
            )
            raise ControlError(f"not applied, the file is as it was:\n{told}")
        if outcome.text == outcome.before.text:
            return {"number": 0, "diff": "", "answer": "the file says that already", "problems": outcome.problems}
        number = await asyncio.to_thread(self._write, outcome, caller, comment[:COMMENT_LIMIT])
        diff = self._diff(outcome.before.text, outcome.text)
        try:
            answer = await self._reload()
        except NotReloaded as error:
            await asyncio.to_thread(self._undo, outcome, number)
            raise ControlError(f"not applied, the file is as it was:\n{error}") from error
        except ControlError as error:
            answer = str(error)  # it is in force but for what this says
        self._say("I", f"configuration: version {number} applied by {caller.name or 'nobody'} ({caller.via})")
        return {"number": number, "diff": diff, "answer": answer, "problems": outcome.problems}

    def _write(self, outcome: _Outcome, caller: Caller, comment: str) -> int:
        before = outcome.before
        try:
            raw = before.encode(outcome.text)
        except ValueError as error:
            raise ControlError(f"{self._file}: {error}") from error
        try:
            now = self._clock()
            self._history.note_found(before.text, now)
            number = self._history.add(outcome.text, at=now, who=caller.name, via=caller.via, comment=comment)
        except OSError as error:
            raise ControlError(f"nothing changed: the history cannot be kept: {error}") from error
        try:
            self._read(before.digest)  # an editor may have been quicker
            rewrite_file(self._file, raw)
        except (OSError, ControlError) as error:
            self._history.drop(number)
            if isinstance(error, ControlError):
                raise
            diff = self._diff(before.text, outcome.text)
            raise ControlError(
                f"{self._file} cannot be written: {error.strerror or error}. To apply it by hand:\n{diff}"
            ) from error
        return number

    def _undo(self, outcome: _Outcome, number: int) -> None:
        """Put the former text back, unless somebody has edited the file meanwhile."""
        self._history.drop(number)
        before = outcome.before
        try:
            self._read(digest_of(outcome.text))
            rewrite_file(self._file, before.encode(before.text))
        except (OSError, ControlError) as error:
            self._say("E", f"configuration: {self._file} could not be put back: {error}")

    def _diff(self, before: str, after: str) -> str:
        file = str(self._file)
        if before == after:
            return ""
        return build_diff(mask_secrets(before, file), mask_secrets(after, file), f"{file} (before)", file)

    def _why_not_writable(self) -> str:
        place = self._file.resolve()
        if os.access(place.parent, os.W_OK | os.X_OK):
            return ""
        return f"{place.parent} cannot be written by the gateway's user: changes are shown to be made by hand"


def _noted(arguments: Arguments) -> Arguments:
    """What of an apply the audit log gets: no secrets."""
    changes = arguments.get("changes")
    if not isinstance(changes, list):
        return arguments
    return {**arguments, "changes": [without_secrets(one) if isinstance(one, dict) else one for one in changes]}


def _convert(raw: object) -> list[Change]:
    changes = msgspec.convert(raw or [], list[Change])
    if len(changes) > CHANGES_LIMIT:
        raise ControlError(f"{len(changes)} changes at once: {CHANGES_LIMIT} are the most")
    return changes


def merge_changes(former: Sequence[Change], fresh: Sequence[Change]) -> list[Change]:
    """Return both in a row; of several that set one parameter, with nothing between that moves tables, the last."""
    merged: list[Change] = []
    for change in (*former, *fresh):
        if change.verb in (Verb.SET, Verb.UNSET):
            place = (change.section, change.item, change.name)
            for index in range(len(merged) - 1, -1, -1):
                other = merged[index]
                if other.verb not in (Verb.SET, Verb.UNSET):
                    break
                if (other.section, other.item, other.name) == place:
                    del merged[index]
                    break
        merged.append(change)
    return merged
