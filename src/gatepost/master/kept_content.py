"""Calls on the content of kept mail: shown harmlessly, handed out as it came, taught, reported, its sender listed.

Registered by `master.process`. The master hands content on and reads none of it: what is shown comes from a filter, by
way of a relay (`relay.preview`). Every call here is in the audit log.
"""

import base64
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError, NotThere, Request
from gatepost.master.learning import Learning
from gatepost.master.lessons import register_lessons
from gatepost.master.own_mail import is_plain
from gatepost.master.relays import Relays
from gatepost.master.stored_mail import own_domains
from gatepost.master.stores import Say, StoreCalls, Target, blocking, describe
from gatepost.model.address import domain_of
from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.storage.store import Store

PIECE: Final = 8 * 1024 * 1024
"""Bytes of content in one answer: most mail is one, and an answer in base64 is far below its limit."""
PREVIEW_BYTES: Final = 32 * 1024 * 1024
"""Of what a relay leaves of a message to be shown: above what its bounds allow (`filter.preview_bounds`)."""
TAUGHT_LIMIT: Final = 20
"""Items taught or reported in one call: each takes a filter some ten milliseconds."""
LESSONS: Final = ("spam", "wanted", "forget")


class ContentCalls:
    """Answers about the content of kept mail."""

    def __init__(self, stores: StoreCalls, relays: Relays, learning: Learning, desk: Desk, exports: Path) -> None:
        """`exports`: where relays leave files for the master."""
        self._stores = stores
        self._relays = relays
        self._learning = learning
        self._desk = desk
        self._exports = exports

    def register(self, desk: Desk) -> None:
        """Register the calls at the desk."""
        desk.add("stores.preview", Right.CONTENT, self._preview_item, audited=True, scoped=True)
        desk.add("stores.export", Right.CONTENT, self._export_item, audited=True, scoped=True)
        desk.add("stores.report", Right.LEARN, self._report, audited=True, scoped=True)
        desk.add("stores.allow", Right.LISTS, self._allow, audited=True, scoped=True)
        desk.add("stores.block", Right.LISTS, self._block, audited=True, scoped=True)
        desk.add("queue.preview", Right.CONTENT, self._preview_queued, audited=True)
        desk.add("queue.content", Right.CONTENT, self._export_queued, audited=True)

    # --- shown and handed out

    async def _preview_item(self, arguments: Arguments, caller: Caller) -> Any:
        """Return how a stored message (`item`) is shown (`model.preview.Preview`), with what was found in it."""
        target = await self._stores.target(str(arguments["item"]), caller)
        shown = await self.show(target)
        objects = [msgspec.structs.asdict(each) for each in target.container.item.objects[:100]]
        return shown | {"objects": objects, "scanned": bool(target.container.item.statuses)}

    async def show(self, target: Target) -> dict[str, Any]:
        """Return how a stored message is shown. ControlError."""
        return await self._preview(_place(target))

    async def _preview_queued(self, arguments: Arguments, _: Caller) -> Any:
        """Return how a queued message (`id`) is shown."""
        return await self._preview({"id": parse_queue_id(str(arguments["id"]))}) | {"objects": [], "scanned": False}

    async def _preview(self, place: dict[str, Any]) -> dict[str, Any]:
        path = Path(str(await self._ask("preview", **place, directory=str(self._exports))))
        if path.parent != self._exports:
            raise ControlError("a relay has left the message where none is left")

        def take() -> bytes:
            try:
                with path.open("rb") as file:
                    return file.read(PREVIEW_BYTES + 1)
            finally:
                path.unlink(missing_ok=True)

        data = await blocking(take)
        if len(data) > PREVIEW_BYTES:
            raise ControlError("the message cannot be shown: more of it than is ever shown")
        shown: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        return shown

    async def _export_item(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Return a stored message (`item`) as it came, from `offset` on: `data` in base64, `size` of all, `name`."""
        target = await self._stores.target(str(arguments["item"]), caller)
        offset = max(int(arguments.get("offset", 0)), 0)

        def read() -> bytes:
            with Store(target.directory) as store:
                return _piece(store.content(target.id), offset)

        return _handed_out(f"{target.id}.eml", target.container.item.size, offset, await blocking(read))

    async def _export_queued(self, arguments: Arguments, _: Caller) -> dict[str, Any]:
        """Return a queued message (`id`) as it came, or with `edited` as it would be sent; as `stores.export` does."""
        message_id = parse_queue_id(str(arguments["id"]))
        edited, offset = bool(arguments.get("edited")), max(int(arguments.get("offset", 0)), 0)
        path = Path(str(await self._ask("export", id=message_id, edited=edited, directory=str(self._exports))))

        def take() -> tuple[bytes, int]:
            try:
                with path.open("rb") as file:
                    file.seek(offset)
                    return file.read(PIECE), path.stat().st_size
            finally:
                path.unlink(missing_ok=True)

        data, size = await blocking(take)
        return _handed_out(f"{format_queue_id(message_id)}.eml", size, offset, data)

    # --- taught and reported

    async def _report(self, arguments: Arguments, caller: Caller) -> dict[str, Any]:
        """Teach stored messages (`items`) as `spam` or `wanted`, or `forget` what they taught (`lesson`); with `uds`
        tell the UDS servers, too. Return what came of each. What a caller with domains teaches counts for these.
        """
        lesson = str(arguments["lesson"])
        if lesson not in LESSONS:
            raise ControlError(f"no lesson {lesson!r}: one of {', '.join(LESSONS)}")
        names = [str(item) for item in arguments["items"]]
        if len(names) > TAUGHT_LIMIT:
            raise ControlError(f"more than {TAUGHT_LIMIT} messages at once")
        outcomes: dict[str, Any] = {}
        for name in names:
            try:
                target = await self._stores.target(name, caller)
                outcome: dict[str, Any] = {"lesson": await self.teach(target, lesson, caller)}
                if arguments.get("uds"):
                    word = "withdrawn" if lesson == "forget" else lesson
                    outcome["uds"] = await self._ask("uds", **_place(target), report=word)
                outcomes[target.id] = outcome
            except ControlError as error:
                outcomes[name] = {"refused": str(error)}
        return outcomes

    async def teach(self, target: Target, lesson: str, caller: Caller) -> str:
        """Teach a stored message, for the caller's domains or for all; return what the learner says. ControlError."""
        packed = await self._ask("lesson", **_place(target))
        if not packed:
            raise ControlError("there is nothing in it that could be learned, or anti-spam is not at work")
        told = ""
        for domain in own_domains(caller, target.container.item):
            order = {"lesson": packed, "domain": domain}
            if lesson == "forget":
                told = await self._learning.ask({"call": "forget", **order})
            else:
                taught = {"spam": lesson == "spam", "who": describe(caller), "source": "console"}
                told = await self._learning.ask({"call": "learn", **order, **taught})
        return told

    # --- lists

    async def _allow(self, arguments: Arguments, caller: Caller) -> Any:
        return await self._list_sender("allow", arguments, caller)

    async def _block(self, arguments: Arguments, caller: Caller) -> Any:
        return await self._list_sender("block", arguments, caller)

    async def _list_sender(self, side: str, arguments: Arguments, caller: Caller) -> Any:
        """Put the sender of a stored message (`item`), or with `whole_domain` everybody of its domain, on a list: for
        `scope`, else for everybody, or for the caller's domains among its recipients'.
        """
        target = await self._stores.target(str(arguments["item"]), caller)
        sender = target.container.item.envelope.sender
        if not sender:
            raise ControlError("it has no sender: a report; nobody is put on a list for it")
        if not is_plain(sender):
            # A stranger chose it: `*@bank.example` or `!x@y` would be more than one address on a list.
            raise ControlError("its sender's address would mean more than itself on a list: write the entry by hand")
        mask = f"*@{domain_of(sender)}" if arguments.get("whole_domain") else sender
        order = {"list": side, "entry": mask, "note": f"sender of {target.id}"}
        if "expires" in arguments:
            order["expires"] = arguments["expires"]
        scopes = [str(arguments["scope"])] if "scope" in arguments else own_domains(caller, target.container.item)
        answer: Any = None
        for scope in scopes:
            answer = await self._desk.handle(Request("lists.add", {**order, "scope": scope}), caller)
        return answer

    # --- relays

    async def _ask(self, what: str, **arguments: Any) -> Any:
        """Return the answer of the first relay that has one. ControlError."""
        troubles: list[ControlError] = []
        for relay in self._relays.all:
            try:
                answer = await self._relays.ask(relay, what, **arguments)
            except ControlError as error:
                if "item" in arguments and relay.up.is_set():
                    raise  # what one relay cannot read in a store no other can
                troubles.append(error)
            else:
                if answer is not None:
                    return answer
        raise troubles[0] if troubles else NotThere("no such message in the queue")


def register_mail_calls(
    desk: Desk, relays: Relays, learning: Learning, config: Callable[[], Config], exports: Path, say: Say
) -> ContentCalls:
    """Register all calls on kept mail, those of `master.stores` and those here, and on what is learned of it. Return
    those here: the pages of recipients show and teach by them, too.
    """
    stores = StoreCalls(relays, config, say)
    stores.register(desk)
    content = ContentCalls(stores, relays, learning, desk, exports)
    content.register(desk)
    register_lessons(desk, learning)
    return content


def _place(target: Target) -> dict[str, Any]:
    return {"store": target.directory, "item": target.id}


def _piece(content: Iterable[bytes], offset: int) -> bytes:
    pieces: list[bytes] = []
    at, left = 0, PIECE
    for chunk in content:
        wanted = chunk[max(offset - at, 0) :][:left]
        at += len(chunk)
        if wanted:
            pieces.append(wanted)
            left -= len(wanted)
        if not left:
            break
    return b"".join(pieces)


def _handed_out(name: str, size: int, offset: int, data: bytes) -> dict[str, Any]:
    end = offset + len(data)
    rest = {"name": name, "size": size, "next": end if data and end < size else None}
    return {"data": base64.b64encode(data).decode(), **rest}
