"""Control calls: what `gatepost status`, `queue`, `switch` and the like ask of the master.

Registered by `master.process` at the desk (`control.desk`). The master knows no mail: it asks the relays and puts
their answers together. An act on many messages is a row of calls, each a bounded step from one id to the next, so the
caller sees how far it is and may stop at any time.
"""

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatepost import __version__
from gatepost.config.schema import Config
from gatepost.control import channel
from gatepost.control.counters import LATENCY
from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.feeds.pinned import PinnedSet
from gatepost.master import database_report
from gatepost.master.bases import Databases
from gatepost.master.children import Child
from gatepost.master.database_updates import DatabaseUpdates
from gatepost.master.pauses import PauseError, Pauses
from gatepost.master.ports import BindFailed, Ports
from gatepost.master.relays import MODULES, Relay, Relays
from gatepost.master.releasing import release_items
from gatepost.master.supervisor import Supervision
from gatepost.master.switches import keep_switched_off
from gatepost.relay.queue_pages import Page, merge_pages

STEP_IDS = 200
"""Messages acted on in one call."""
STEP_S = 0.5
"""How long one call looks for messages before it says how far it has got."""
SHOWN_REFUSALS = 20
_RELAY_STATUS = (
    "engines",
    "network_checks",
    "filters",
    "filter_pids",
    "filter_walls_missing",
    "in_work",
    "adopted_shards",
    "doors",
    "shedding",
    "commits",
    "oldest_waiting",
    "paused_messages",
    "stores",
)
_TROUBLED = 20

Arguments = Mapping[str, Any]


class Calls:
    """Answers to control calls."""

    def __init__(
        self,
        *,
        relays: Relays,
        ports: Ports,
        pauses: Pauses,
        config: Callable[[], Config],
        template: Callable[[], Child | None],
        bases: Callable[[], Databases],
        say: Callable[[str, str], None],
        file: Path,
        exports: Path,
        supervision: Supervision,
        switches: Path,
    ) -> None:
        """`config`, `template` and `bases` are those in force now; `file` is the configuration's; `say(level, text)`
        logs.
        """
        self._relays = relays
        self._ports = ports
        self._pauses = pauses
        self._config = config
        self._template = template
        self._bases = bases
        self._say = say
        self._file = file
        self._exports = exports
        self._supervision = supervision
        self._switches = switches
        self._started_at = time.time()

    def register(self, desk: Desk) -> None:
        """Register the calls at the desk."""

        async def queue(arguments: Arguments, caller: Caller) -> Any:
            chosen = {**arguments.get("filter", {}), "scope": _scope(caller)}
            return await self._page("queue", {**arguments, "filter": chosen})

        async def summary(_: Arguments, __: Caller) -> Any:
            return await self._summary()

        async def show(arguments: Arguments, caller: Caller) -> Any:
            return await self._of_one("show", id=int(arguments["id"]), scope=_scope(caller))

        async def export(arguments: Arguments, _: Caller) -> Any:
            edited = bool(arguments.get("edited"))
            return await self._of_one("export", id=int(arguments["id"]), edited=edited, directory=str(self._exports))

        async def act(arguments: Arguments, _: Caller) -> Any:
            return await self._act(arguments)

        async def release(arguments: Arguments, caller: Caller) -> Any:
            if caller.via != "cli":  # whoever may name any directory need not ask for a right to what lies in it
                raise Refused("a directory can be named at the command line only: stores.release does the rest")
            return await release_items(self._relays, arguments, self._say)

        async def pause(arguments: Arguments, _: Caller) -> Any:
            return self._pause(str(arguments["domain"]), paused=bool(arguments["paused"]))

        async def switch(arguments: Arguments, _: Caller) -> Any:
            return await self._switch(str(arguments.get("module")), on=bool(arguments.get("on")))

        async def status(_: Arguments, __: Caller) -> Any:
            return await self.status()

        desk.add("status", Right.VIEW, status)
        desk.add("queue", Right.TRACK, queue, scoped=True)
        desk.add("summary", Right.VIEW, summary)
        desk.add("show", Right.TRACK, show, scoped=True)
        desk.add("export", Right.CONTENT, export, audited=True)
        desk.add("act", Right.QUEUE, act, audited=True)
        desk.add("release", Right.QUARANTINE, release, audited=True)
        desk.add("pause", Right.QUEUE, pause, audited=True)
        desk.add("switch", Right.SERVICE, switch, audited=True)
        database_report.register(desk, self._config, self._bases)
        DatabaseUpdates(self._file).register(desk)

    # --- the queue

    async def _page(self, what: str, arguments: Arguments) -> Page:
        """Return a page of all relays' messages behind `after`: rows (`queue`) or ids (`search`)."""
        after, limit = int(arguments.get("after", 0)), int(arguments.get("limit", STEP_IDS))
        items: list[Any] = []
        seen, ended = 0, False
        end = time.monotonic() + STEP_S
        while not ended and len(items) < limit:
            answers = await self._relays.ask_all(
                what, filter=arguments.get("filter", {}), after=after, limit=limit - len(items)
            )
            page = merge_pages([msgspec.convert(answer, Page) for answer in answers], limit - len(items))
            items += page.items
            seen += page.seen
            after, ended = page.upto, page.ended
            if time.monotonic() >= end:
                break
        return Page(items, after, seen, ended)

    async def _act(self, arguments: Arguments) -> dict[str, Any]:
        """Act on the messages named by `ids`, or on the next step of those a filter chooses."""
        ids = arguments.get("ids")
        if ids is not None:
            step = Page(list(ids), 0, len(ids), ended=True)
        else:
            step = await self._page("search", {**arguments, "limit": STEP_IDS})
        if arguments.get("dry_run"):
            return {"found": len(step.items), "upto": step.upto, "seen": step.seen, "ended": step.ended}
        done: list[int] = []
        refused: dict[int, str] = {}
        if step.items:
            for answer in await self._ask_those_there(
                "act", verb=arguments["verb"], ids=step.items, text=arguments.get("text", "")
            ):
                done += answer["done"]
                refused |= {int(number): why for number, why in answer["refused"].items()}
        if ids is not None:  # what a search found and is gone by now has been delivered
            unknown = set(step.items).difference(refused, done)
            refused |= dict.fromkeys(unknown, "no such message in the queue")
        if done:
            self._say("I", f"operator: {arguments['verb']} of {len(done)} message(s)")
        shown = dict(sorted(refused.items())[:SHOWN_REFUSALS])
        return {
            "found": len(step.items),
            "done": len(done),
            "refused": len(refused),
            "why": {str(number): why for number, why in shown.items()},
            "upto": step.upto,
            "seen": step.seen,
            "ended": step.ended,
        }

    async def _ask_those_there(self, what: str, **arguments: Any) -> list[Any]:
        """Return the answers of the relays that can be asked. ControlError when none can, and why not."""
        answers: list[Any] = []
        troubles: list[ControlError] = []
        for relay in self._relays.all:
            try:
                answers.append(await self._relays.ask(relay, what, **arguments))
            except ControlError as error:
                troubles.append(error)
        if troubles and not answers:
            raise troubles[0]
        return answers

    async def announce(self, **mail: Any) -> str:
        """Have a relay that works send mail of our own (`notices.problem_mail`); return its queue id. ControlError."""
        for relay in self._relays.all:
            if relay.up.is_set() and relay.channel is not None:
                with contextlib.suppress(ControlError):
                    return str(await self._relays.ask(relay, "announce", **mail))
        raise ControlError("no relay takes mail of ours now")

    async def _of_one(self, what: str, **arguments: Any) -> Any:
        """Return the answer of the relay that holds a message, None when none does."""
        answers = await self._ask_those_there(what, **arguments)
        return next((answer for answer in answers if answer is not None), None)

    async def _summary(self) -> dict[str, Any]:
        answers = await self._relays.ask_all("summary")
        rows: dict[str, dict[str, Any]] = {}
        for answer in answers:
            for row in answer["destinations"]:
                known = rows.setdefault(row["domain"], row | {"waiting": 0})
                known["waiting"] += row["waiting"]
        totals: dict[str, Counter[str]] = {name: Counter() for name in ("states", "reasons", "held")}
        for answer in answers:
            for name, total in totals.items():
                total.update(answer[name])
        return {
            "bytes": sum(answer["bytes"] for answer in answers),
            "destination_count": max((answer["destination_count"] for answer in answers), default=0),
            "destinations": sorted(rows.values(), key=lambda row: (-row["waiting"], row["domain"])),
            **{name: dict(total.most_common()) for name, total in totals.items()},
        }

    # --- steering

    def _pause(self, domain: str, *, paused: bool) -> str:
        try:
            changed = self._pauses.change(domain, paused=paused)
        except PauseError as error:
            raise ControlError(str(error)) from error
        if not changed:
            return "already"
        self._relays.tell(channel.Pauses(self._pauses.domains))
        self._say("I", f"destination {domain.lower()} {'paused' if paused else 'resumed'}")
        return "done"

    async def _switch(self, module: str, *, on: bool) -> str:
        relays = self._relays
        if module not in MODULES:
            raise ControlError(f"no module {module!r}: one of {', '.join(MODULES)}")
        if module == "recv":
            await self._switch_ports(on=on)
        else:
            relays.switches[module] = on
            relays.tell(channel.Switch(module, on))
        self._say("I", f"{module} switched {'on' if on else 'off'}")
        try:
            keep_switched_off(self._switches, (name for name, state in relays.switches.items() if not state))
        except OSError as error:
            self._say("W", f"{self._switches}: {error.strerror}: a master that dies would forget it")
        return "on" if on else "off"

    async def _switch_ports(self, *, on: bool) -> None:
        """Close all ports, or open them again; nothing changes for sessions that only begin to end."""
        relays = self._relays
        if on == relays.switches["recv"]:
            return
        if on:
            try:
                self._ports.resume()
            except BindFailed as error:
                raise ControlError(str(error)) from error
            relays.switches["recv"] = True
            relays.tell(channel.Switch("recv", on=True))
            relays.send_setup()
            return
        relays.switches["recv"] = False
        relays.tell(channel.Switch("recv", on=False))
        # Each answers after it has let go of the sockets: they are shut under nobody who still accepts on them.
        await self._all_statuses()
        self._ports.pause()

    # --- status

    async def status(self) -> dict[str, Any]:
        relays = self._relays
        rows: list[dict[str, Any]] = []
        counters: Counter[str] = Counter()
        since_start: Counter[str] = Counter()
        queue: Counter[str] = Counter(waiting=0, ready=0, held=0, bytes=0)
        troubled: dict[str, dict[str, Any]] = {domain: _paused_row(domain) for domain in self._pauses.domains}
        for relay, answer in zip(relays.all, await self._all_statuses(), strict=True):
            row: dict[str, Any] = {
                "index": relay.index,
                "pid": relay.child.pid,
                "state": relay.child.state,
                "restarts": relay.child.restarts,
            }
            if isinstance(answer, dict):
                row |= {key: answer[key] for key in _RELAY_STATUS}
                relay.counted = answer["counters"], answer["since_start"]
                counters.update(answer["gauges"])
                queue.update(answer["queue"])
                for each in answer["troubled"]:
                    known = troubled.setdefault(each["domain"], each | {"waiting": 0})
                    known["waiting"] += each["waiting"]
            else:
                row["error"] = relay.trouble or answer
            counters.update(relay.counted[0])
            since_start.update(relay.counted[1])
            rows.append(row)
        counters["mta_stored_messages_current"] = queue["waiting"] + queue["ready"] + queue["held"]
        template = self._template()
        running = template is not None and template.state == "running"
        return {
            "version": __version__,
            "pid": os.getpid(),
            "supervisor": msgspec.to_builtins(self._supervision),
            "configuration": str(self._file),
            "started_at": self._started_at,
            "listeners": [listener.address for listener in self._config().listeners],
            "doors": _door_rows(self._config(), rows),
            "modules": {
                "receiver": relays.switches["recv"],
                "scanner": relays.switches["scan"],
                "antivirus": relays.switches["virus"] and running,
                "antispam": relays.switches["spam"] and running,
                "sender": relays.switches["send"],
            },
            "relays": rows,
            "filter_template": {
                "pid": template.pid if template else 0,
                "state": template.state if template else "stopped",
                "restarts": template.restarts if template else 0,
            },
            "databases": _set_rows(self._bases().antivirus),
            "spam_databases": _set_rows(self._bases().spam.sets),
            "queue": dict(queue),
            "paused": list(self._pauses.domains),
            "troubled": sorted(troubled.values(), key=lambda row: (-row["waiting"], row["domain"]))[:_TROUBLED],
            "counters": {name: counters[name] for name in sorted(counters) if not name.startswith(LATENCY)},
            "since_start": dict(since_start),
            "latency": {name: counters[name] for name in counters if name.startswith(LATENCY)},
        }

    async def _all_statuses(self) -> Sequence[dict[str, Any] | str]:
        """Return each relay's answer, or why it has none: a status must come whatever state they are in."""

        async def one(relay: Relay) -> dict[str, Any] | str:
            try:
                answer: dict[str, Any] = await self._relays.ask(relay, "status")
            except ControlError as error:
                return str(error)
            return answer

        return await asyncio.gather(*map(one, self._relays.all))


def _scope(caller: Caller) -> list[str]:
    """Return the domains whose mail alone a caller sees, as relays are told; none = all."""
    return [domain.lower() for domain in caller.domains]


def _door_rows(config: Config, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the doors with what all relays together counted at them."""
    told: list[dict[str, Any]] = []
    for door in config.doors:
        counts: Counter[str] = Counter(connections=0, connections_total=0, refused=0, failed=0)
        for row in rows:
            for each in row.get("doors", ()):
                if each["name"] == door.name:
                    counts.update({name: each[name] for name in counts})
        told.append({"name": door.name, "kind": door.kind.value, "address": door.address, **counts})
    return told


def _set_rows(sets: Sequence[PinnedSet]) -> list[dict[str, Any]]:
    return [
        {"name": facts.name, "number": facts.number, "issued": facts.issued, "records": facts.records}
        for facts in (each.facts for each in sets)
    ]


def _paused_row(domain: str) -> dict[str, Any]:
    return {"domain": domain, "waiting": 0, "paused": True, "rests_until": 0.0, "reason": "paused by an operator"}
