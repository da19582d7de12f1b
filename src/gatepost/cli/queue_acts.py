"""`gatepost queue remove|hold|release|retry|flush|bounce|reroute|rescan|scan-first|send-first|pause|resume`.

An act on one message is done at once. An act on many is counted first and asked about, then done in steps from the
oldest on: it may be broken off at any time, and what was done stays done.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from gatepost.cli.choice import NOTHING, Chosen, Progress, QueueId, Yes, confirm, filter_argument, resolve_choice
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, EXIT_NOT_DONE, Caller, ConfigFile, complain
from gatepost.cli.queue import app as queue_app
from gatepost.model.foreign_text import printable
from gatepost.model.ids import format_queue_id
from gatepost.relay.queue_filter import QueueFilter
from gatepost.relay.verbs import Verb, check_text

DryRun = Annotated[bool, cyclopts.Parameter(negative="", help="only count the messages")]
Everything = Annotated[bool, cyclopts.Parameter(name="--all", negative="", help="all messages")]
Domain = Annotated[str, cyclopts.Parameter(help="recipient domain; several")]
Reason = Annotated[str, cyclopts.Parameter(help="what to say about it")]

_PAST = {
    Verb.REMOVE: "removed",
    Verb.HOLD: "held",
    Verb.RELEASE: "released",
    Verb.RETRY: "due now",
    Verb.BOUNCE: "given up, the sender gets a report",
    Verb.REROUTE: "rerouted",
    Verb.RESCAN: "to be inspected again",
    Verb.SCAN_FIRST: "to be inspected first",
    Verb.SEND_FIRST: "to be sent first",
}
_SHOWN = 20
"""Refusals told one by one."""
_ASKED_ALWAYS = frozenset((Verb.REMOVE, Verb.BOUNCE))
"""What cannot be taken back is asked about even for one message."""


def _command(verb: Verb, summary: str) -> Callable[..., int]:
    """Return the sub-command of a verb that needs no text."""

    def command(
        *ids: QueueId,
        chosen: Chosen = NOTHING,
        everything: Everything = False,
        yes: Yes = False,
        dry_run: DryRun = False,
        conf_file: ConfigFile = DEFAULT_FILE,
    ) -> int:
        return act(verb, "", ids, chosen, conf_file, everything=everything, yes=yes, dry_run=dry_run)

    command.__doc__ = summary
    return command


def hold(
    *ids: QueueId,
    reason: Reason = "held by an operator",
    chosen: Chosen = NOTHING,
    everything: Everything = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Keep messages until they are released."""
    return act(Verb.HOLD, reason, ids, chosen, conf_file, everything=everything, yes=yes, dry_run=dry_run)


def bounce(
    *ids: QueueId,
    reason: Reason = "",
    chosen: Chosen = NOTHING,
    everything: Everything = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Give messages up now: their senders get a failure report with the reason."""
    return act(Verb.BOUNCE, reason, ids, chosen, conf_file, everything=everything, yes=yes, dry_run=dry_run)


def reroute(
    *ids: QueueId,
    to: Annotated[str, cyclopts.Parameter(help="[host:port], or a domain whose mail hosts are asked for")] = "",
    clear: Annotated[bool, cyclopts.Parameter(negative="", help="by the routing table again")] = False,
    chosen: Chosen = NOTHING,
    everything: Everything = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Give messages a next hop of their own, and try it now."""
    if bool(to) == clear:
        return complain("say where to: --to [host:port], --to domain, or --clear", EXIT_BAD_OPTIONS)
    return act(Verb.REROUTE, to, ids, chosen, conf_file, everything=everything, yes=yes, dry_run=dry_run)


def flush(*domains: Domain, yes: Yes = False, dry_run: DryRun = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Try everything that waits for delivery now, or all that waits for these recipient domains."""
    chosen = Chosen(state=["QUE"], domain=list(domains))
    return act(Verb.RETRY, "", (), chosen, conf_file, everything=False, yes=yes, dry_run=dry_run)


def pause(*domains: Domain, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Let the mail for these recipient domains wait, also over restarts, until `resume`."""
    return _pause(domains, conf_file, paused=True)


def resume(*domains: Domain, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Send mail for these recipient domains again."""
    return _pause(domains, conf_file, paused=False)


def _pause(domains: Sequence[str], conf_file: Path, *, paused: bool) -> int:
    if not domains:
        return complain("say which recipient domain", EXIT_BAD_OPTIONS)
    caller = Caller(conf_file, queue_codes=True)
    code = 0
    for domain in domains:
        if caller("pause", domain=domain, paused=paused) == "already":
            code = complain(f"{domain} is {'paused already' if paused else 'not paused'}", EXIT_NOT_DONE)
        else:
            print(f"{domain}: {'paused' if paused else 'resumed'}")
    return code


def act(
    verb: Verb,
    text: str,
    ids: Sequence[str],
    chosen: Chosen,
    conf_file: Path,
    *,
    everything: bool,
    yes: bool,
    dry_run: bool,
) -> int:
    """Do one thing to the messages named or chosen; asks about many unless `yes`. Return the code to end with."""
    try:
        check_text(verb, text)
        choice = resolve_choice(ids, chosen, everything=everything)
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    caller = Caller(conf_file, queue_codes=True)
    many = isinstance(choice, QueueFilter)
    if many and (dry_run or not yes):
        found = _run(caller, choice, verb, text, dry_run=True)["found"]
        if dry_run or not found:
            print(f"{found} message(s) match")
            return 0 if found else EXIT_NOT_DONE
        if not confirm(f"{verb.value} {found} message(s)?"):
            return complain("nothing done", EXIT_NOT_DONE)
    elif dry_run:
        print(f"{len(ids)} message(s) named")
        return 0
    elif not many and not yes and verb in _ASKED_ALWAYS and not confirm(f"{verb.value} {' '.join(ids)} for good?"):
        return complain("nothing done", EXIT_NOT_DONE)
    return _report(verb, _run(caller, choice, verb, text, dry_run=False), ids)


def _run(caller: Caller, choice: list[int] | QueueFilter, verb: Verb, text: str, *, dry_run: bool) -> dict[str, Any]:
    """Act step by step on all that was chosen; return the totals and the first refusals."""
    totals: dict[str, Any] = {"found": 0, "done": 0, "refused": 0, "seen": 0, "why": {}}
    progress = Progress()
    after, ended = 0, False
    while not ended:
        which = {"ids": choice} if isinstance(choice, list) else {"filter": filter_argument(choice), "after": after}
        step = caller("act", verb=verb.value, text=text, dry_run=dry_run, **which)
        for name in ("found", "done", "refused", "seen"):
            totals[name] += step.get(name, 0)
        totals["why"] |= step.get("why", {}) if len(totals["why"]) < _SHOWN else {}
        after, ended = step["upto"], step["ended"]
        progress.show(f"{totals['seen']} looked at, {totals['found']} match, {totals['done']} {verb.value} …")
    progress.clear()
    return totals


def _report(verb: Verb, totals: dict[str, Any], ids: Sequence[str]) -> int:
    for number, why in totals["why"].items():
        complain(f"{format_queue_id(int(number))}: {printable(why)}", EXIT_NOT_DONE)
    more = totals["refused"] - len(totals["why"])
    if more > 0:
        complain(f"and {more} more not done", EXIT_NOT_DONE)
    if totals["done"]:
        which = ids[0] if len(ids) == 1 else f"{totals['done']} message(s)"
        print(f"{which}: {_PAST[verb]}")
    elif not totals["refused"]:
        complain("no message matches", EXIT_NOT_DONE)
    return 0 if totals["done"] and not totals["refused"] else EXIT_NOT_DONE


_PLAIN = {
    Verb.REMOVE: "Delete messages that nobody has in work; nobody is told.",
    Verb.RELEASE: "Let held messages (state HLD) go on where they were.",
    Verb.RETRY: "Try messages now, and end the rest of their destinations.",
    Verb.RESCAN: "Let messages be inspected again, with the present rules, before they go on.",
    Verb.SCAN_FIRST: "Inspect messages ahead of the queue.",
    Verb.SEND_FIRST: "Send messages ahead of the queue.",
}


def _with_acts(app: cyclopts.App) -> cyclopts.App:
    for verb, summary in _PLAIN.items():
        app.command(_command(verb, summary), name=verb.value)
    for command in (hold, bounce, reroute, flush, pause, resume):
        app.command(command)
    return app


app = _with_acts(queue_app)
"""`gatepost queue` with all sub-commands that ask a running gateway."""
