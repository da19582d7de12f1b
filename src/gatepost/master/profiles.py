"""Profiles and rules by call: what the set says, a draft of each person, save and compile, history, roll-back, XML.

Registered at the desk for the console and the API (row F-WEB-03). What is saved is sound (`config.profiles_check`),
written whole (`master.profiles_store`) and taken by a reload; what the reload does not take is undone. `gatepost rules`
works on the files themselves.
"""

import asyncio
import base64
import binascii
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.file_text import digest_of
from gatepost.config.problem import Problem, Severity
from gatepost.config.profiles_check import check_rule_set
from gatepost.config.profiles_files import build_files, read_rule_set
from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Stale, Unfit
from gatepost.master.configuration import NotReloaded
from gatepost.master.configuration_history import COMMENT_LIMIT, History, VersionRow, build_diff
from gatepost.master.profiles_bundle import bundle, pack, unbundle, unpack
from gatepost.master.profiles_editing import Edit, Part, UnfitError, apply_edits
from gatepost.master.profiles_store import finish, put_rule_set, read_files, signature_of
from gatepost.model.profile import AddressList, DnsList, NetworkList, Profile, ProfileRef, RuleSet

DRAFTS_LIMIT: Final = 50
"""People who have something unsaved at once."""
UPLOAD_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of an upload: an archive of a thousand profiles has one."""
PROBLEMS_TOLD: Final = 200


class _Draft(msgspec.Struct):
    digest: str
    """Of the set it was made from."""
    rules: RuleSet


class _Saved(msgspec.Struct, frozen=True):
    """The set in the files, as it was read last."""

    signature: object
    """Of the files: while it is the same they are not read again, which takes seconds with thousands of rules."""
    rules: RuleSet
    problems: tuple[Problem, ...]
    text: str
    digest: str


class Profiles:
    """The rule set of one gateway."""

    def __init__(
        self,
        config: Callable[[], Config],
        reload: Callable[[], Awaitable[str]],
        say: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`config` gives the one in force; `reload` as for `master.configuration`."""
        self._config = config
        self._reload = reload
        self._say = say
        self._clock = clock
        self._history = History(Path(config().relay.state_path) / "rules-history")
        self._drafts: dict[str, _Draft] = {}
        self._turn = asyncio.Lock()
        self._saved: _Saved | None = None
        try:
            if finish(self._directory):
                say("W", "rules: the save that was broken off is done")
        except OSError as error:
            say("E", f"rules: the save that was broken off cannot be ended: {error}")

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        see, change = Right.CONFIGURATION, Right.CONFIGURE
        desk.add("profiles.show", see, self._show)
        desk.add("profiles.one", see, self._one)
        desk.add("profiles.check", see, self._check)
        desk.add("profiles.history", see, self._show_history)
        desk.add("profiles.export", see, self._export)
        desk.add("profiles.draft", change, self._take_draft)
        desk.add("profiles.import", change, self._import)
        desk.add("profiles.reset", change, self._reset)
        desk.add("profiles.save", change, self._save, audited=True, noted=_noted)
        desk.add("profiles.rollback", change, self._rollback, audited=True)

    @property
    def _directory(self) -> Path:
        return Path(self._config().profiles.path)

    def _read(self) -> _Saved:
        signature = (str(self._directory), signature_of(self._directory))
        saved = self._saved
        if saved is None or saved.signature != signature:
            rules, problems = read_rule_set(self._directory)
            text = bundle(rules)
            saved = self._saved = _Saved(signature, rules, problems, text, digest_of(text))
        return saved

    # --- seeing

    async def _show(self, arguments: Arguments, caller: Caller) -> Any:
        """The set as it is saved, with `draft` the caller's: what there is, in its order; with `full` all of it; with
        `find`, of profiles those that have the text in a name, a description or a recipient.
        """
        return await asyncio.to_thread(self._describe, arguments, caller)

    def _describe(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        saved = self._read()
        draft = self._drafts.get(caller.name) if arguments.get("draft") else None
        rules = saved.rules if draft is None else draft.rules
        problems = saved.problems if draft is None else check_rule_set(rules)
        find = str(arguments.get("find", "")).casefold()
        found: dict[str, Any] = {
            "enabled": self._config().profiles.enabled,
            "path": str(self._directory),
            "shipped": not self._directory.is_dir(),
            "changed": draft is not None,
            "digest": saved.digest,
            "problems": self._tell(problems),
            "hidden": None if rules.hidden is None else _row("", rules.hidden),
            "common": _places(rules.common, rules, find),
            "personal": _places(rules.personal, rules, find),
            "placed": {"common": len(rules.common), "personal": len(rules.personal)},
            "settings": rules.settings,
        }
        placed = {ref.file for ref in (*rules.common, *rules.personal)}
        found["unplaced"] = [
            _row(file, each)
            for file, each in rules.profiles.items()
            if file not in placed and _is_found(find, file, each)
        ]
        for part in (Part.EMAILS, Part.NETWORKS, Part.DNSBL):
            found[part.value] = [_list_row(file, each) for file, each in getattr(rules, part.value).items()]
        if arguments.get("full"):
            found["rules"] = msgspec.to_builtins(rules)
        return found

    async def _one(self, arguments: Arguments, caller: Caller) -> Any:
        """One `part` (profiles, hidden, emails, iplists, dnsbl) by its `file`, of the draft if there is one, with what
        is wrong with it.
        """
        part, file = _part_of(arguments), str(arguments.get("file", ""))
        rules, _ = await asyncio.to_thread(self._rules_of, caller)
        if part is Part.HIDDEN:
            value, path = rules.hidden, "hidden.toml"
        else:
            value, path = getattr(rules, part.value, {}).get(file), f"{part.value}/{file}.toml"
        if value is None:
            raise NotThere(f"there is no {path[:100]}")
        problems = await asyncio.to_thread(check_rule_set, rules)
        return {
            "value": msgspec.to_builtins(value),
            "problems": self._tell([problem for problem in problems if problem.file == path]),
            "emails": list(rules.emails),
            "iplists": list(rules.iplists),
            "dnsbl": list(rules.dnsbl),
        }

    def _rules_of(self, caller: Caller) -> tuple[RuleSet, str]:
        """Return the caller's draft, else the saved set; with the digest of what it was made from."""
        draft = self._drafts.get(caller.name)
        if draft is not None:
            return draft.rules, draft.digest
        saved = self._read()
        return saved.rules, saved.digest

    async def _check(self, _: Arguments, caller: Caller) -> Any:
        """What saving the draft would do: what is wrong with it, and the difference."""
        return await asyncio.to_thread(self._compare, caller)

    def _compare(self, caller: Caller) -> dict[str, Any]:
        rules, digest = self._rules_of(caller)
        saved = self._read()
        text = bundle(rules)
        return {
            "problems": self._tell(check_rule_set(rules)),
            "diff": _diff(saved.text, text),
            "changed": text != saved.text,
            "stale": digest != saved.digest,
        }

    def _tell(self, problems: Any) -> list[dict[str, str]]:
        root = f"{self._directory}/"
        return [
            {
                "severity": problem.severity.value,
                "file": problem.file.removeprefix(root),
                "place": problem.name,
                "what": problem.what,
                "mend": problem.mend,
            }
            for problem in problems[:PROBLEMS_TOLD]
        ]

    async def _show_history(self, arguments: Arguments, _: Caller) -> Any:
        """The newest versions (`limit`), without what they changed; with `number` that one, with it."""
        return await asyncio.to_thread(self._read_history, arguments.get("number"), int(arguments.get("limit", 50)))

    def _read_history(self, number: int | None, limit: int) -> list[VersionRow]:
        return self._history.rows(self._read().digest, number, limit, _diff)

    # --- drafts

    async def _take_draft(self, arguments: Arguments, caller: Caller) -> Any:
        """Make `edits` in the caller's draft."""
        try:
            edits = msgspec.convert(arguments["edits"], list[Edit])
            rules, digest = await asyncio.to_thread(self._rules_of, caller)
            self._keep(caller, apply_edits(rules, edits), digest)
        except (UnfitError, msgspec.ValidationError) as error:
            raise Unfit(str(error)) from error
        return await asyncio.to_thread(self._compare, caller)

    def _keep(self, caller: Caller, rules: RuleSet, digest: str) -> None:
        self._drafts.pop(caller.name, None)
        if _digest(rules) != digest:
            self._drafts[caller.name] = _Draft(digest, rules)
        while len(self._drafts) > DRAFTS_LIMIT:
            self._drafts.pop(next(iter(self._drafts)))

    async def _import(self, arguments: Arguments, caller: Caller) -> Any:
        """Have the caller's draft say what an upload says (base64 `data`, `name`): a whole set as .zip, or one profile
        as .xml, which replaces the one of its name.
        """
        raw = _upload_of(arguments)
        rules, digest = await asyncio.to_thread(self._rules_of, caller)
        try:
            fresh, problems = await asyncio.to_thread(unpack, rules, str(arguments.get("name", "")), raw)
        except ValueError as error:
            raise Unfit(str(error)) from error
        if fresh is not None:
            self._keep(caller, fresh, digest)
        return {"kept": fresh is not None, "problems": self._tell(problems)}

    async def _export(self, arguments: Arguments, caller: Caller) -> Any:
        """The set (with `draft` the caller's) as XML in an `encoding`, as a .zip; with `file` that profile alone."""
        saved = await asyncio.to_thread(self._read)
        rules = (await asyncio.to_thread(self._rules_of, caller))[0] if arguments.get("draft") else saved.rules
        encoding, file = str(arguments.get("encoding") or "utf-8"), str(arguments.get("file", ""))
        if file and file not in rules.profiles:
            raise NotThere(f"there is no profile {file[:60]!r}")
        try:
            name, raw = await asyncio.to_thread(pack, rules, encoding, file)
        except ValueError as error:
            raise Unfit(str(error)) from error
        return {"name": name, "data": base64.b64encode(raw).decode("ascii")}

    async def _reset(self, _: Arguments, caller: Caller) -> Any:
        """Forget the caller's draft."""
        self._drafts.pop(caller.name, None)
        return "reset"

    # --- changing

    async def _save(self, arguments: Arguments, caller: Caller) -> Any:
        """Write the draft, or all of a set (`rules`, with the `digest` of the one it was made from), and compile it."""
        own = arguments.get("rules") is None
        if own and caller.name not in self._drafts:
            raise ControlError("there is nothing to save")
        if own:
            rules, digest = self._drafts[caller.name].rules, self._drafts[caller.name].digest
        else:
            rules, digest = _convert_set(arguments["rules"]), str(arguments.get("digest", ""))
        async with self._turn:
            answer = await self._put(rules, digest, caller, str(arguments.get("comment", "")))
        if own:
            self._drafts.pop(caller.name, None)
        return answer

    async def _rollback(self, arguments: Arguments, caller: Caller) -> Any:
        """Put version `number` in the set's place and compile it."""
        number = int(arguments["number"])
        async with self._turn:
            version = await asyncio.to_thread(self._history.read, number)
            if version is None:
                raise NotThere(f"version {number} is not kept")
            rules = await asyncio.to_thread(_restore, version.text)
            comment = str(arguments.get("comment", "")) or f"back to version {number}"
            return await self._put(rules, str(arguments.get("digest", "")), caller, comment)

    async def _put(self, rules: RuleSet, digest: str, caller: Caller, comment: str) -> dict[str, Any]:
        before = await asyncio.to_thread(self._read)
        if digest and digest != before.digest:
            raise Stale("the rules have been changed meanwhile: look at them again")
        problems = await asyncio.to_thread(check_rule_set, rules)
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        if errors:
            told = "\n".join(map(str, errors[:10]))
            raise ControlError(f"not saved, the rules are as they were:\n{told}")
        text = await asyncio.to_thread(bundle, rules)
        if text == before.text and self._directory.is_dir():
            return {"number": 0, "diff": "", "answer": "the rules say that already", "problems": self._tell(problems)}
        number = await asyncio.to_thread(self._write, before, rules, caller, comment[:COMMENT_LIMIT])
        answer = "kept; rules are not in force while profiles.enabled is false"
        if self._config().profiles.enabled:
            answer = await self._compile(before.rules, number)
        self._say("I", f"rules: version {number} saved by {caller.name or 'nobody'} ({caller.via})")
        diff = _diff(before.text, text)
        return {"number": number, "diff": diff, "answer": answer, "problems": self._tell(problems)}

    async def _compile(self, before: RuleSet, number: int) -> str:
        try:
            return await self._reload()
        except NotReloaded as error:
            try:
                await asyncio.to_thread(put_rule_set, self._directory, build_files(before))
                self._history.drop(number)
            except OSError as trouble:
                self._say("E", f"rules: {self._directory} could not be put back: {trouble}")
            raise ControlError(f"not saved, the rules are as they were:\n{error}") from error
        except ControlError as error:
            return str(error)  # it is in force but for what this says

    def _write(self, before: _Saved, rules: RuleSet, caller: Caller, comment: str) -> int:
        try:
            now = self._clock()
            self._history.note_found(before.text, now)
            number = self._history.add(bundle(rules), at=now, who=caller.name, via=caller.via, comment=comment)
        except OSError as error:
            raise ControlError(f"nothing changed: the history cannot be kept: {error}") from error
        try:
            put_rule_set(self._directory, build_files(rules))
        except OSError as error:
            self._history.drop(number)
            raise ControlError(f"{self._directory} cannot be written: {error.strerror or error}") from error
        return number


def _digest(rules: RuleSet) -> str:
    return digest_of(bundle(rules))


def _diff(before: str, after: str) -> str:
    return "" if before == after else build_diff(before, after, "rules (before)", "rules")


def _restore(text: str) -> RuleSet:
    with tempfile.TemporaryDirectory() as scratch:
        rules, wrong = read_files(unbundle(text), Path(scratch) / "rules")
    if wrong:
        raise ControlError(f"that version would not be sound now:\n{wrong[:1000]}")
    return rules


def _convert_set(raw: object) -> RuleSet:
    try:
        return msgspec.convert(raw, RuleSet)
    except msgspec.ValidationError as error:
        raise Unfit(str(error)) from error


def _part_of(arguments: Arguments) -> Part:
    try:
        return Part(str(arguments["part"]))
    except ValueError:
        raise Unfit("a part is one of: profiles, hidden, emails, iplists, dnsbl") from None


def _upload_of(arguments: Arguments) -> bytes:
    try:
        raw = base64.b64decode(str(arguments["data"]), validate=True)
    except binascii.Error as error:
        raise Unfit("the data is no base64") from error
    if len(raw) > UPLOAD_LIMIT:
        raise Unfit(f"longer than {UPLOAD_LIMIT} bytes: import it by the command line")
    return raw


def _row(file: str, profile: Profile) -> dict[str, Any]:
    whose = list(profile.recipients) or ([profile.recipient_list] if profile.recipient_list else [])
    return {
        "file": file,
        "name": profile.name,
        "description": profile.description,
        "rules": len(profile.rules),
        "recipients": whose[:10],
    }


def _places(refs: Iterable[ProfileRef], rules: RuleSet, find: str) -> list[dict[str, Any]]:
    rows = []
    for number, ref in enumerate(refs, 1):
        profile = rules.profiles.get(ref.file, Profile())
        if _is_found(find, ref.file, profile):
            place = {"number": number, "active": ref.active, "comment": ref.comment}
            rows.append(_row(ref.file, profile) | place)
    return rows


def _is_found(find: str, file: str, profile: Profile) -> bool:
    texts = (file, profile.name, profile.description, profile.recipient_list, *profile.recipients)
    return not find or any(find in text.casefold() for text in texts)


def _list_row(file: str, value: AddressList | NetworkList | DnsList) -> dict[str, Any]:
    if isinstance(value, AddressList):
        count = len(value.addresses)
    else:
        count = len(value.networks if isinstance(value, NetworkList) else value.services)
    return {"file": file, "name": value.name, "description": value.description, "count": count}


def _noted(arguments: Arguments) -> Arguments:
    """What of a save the audit log gets: the history has the rest."""
    return {name: value for name, value in arguments.items() if name != "rules"}
