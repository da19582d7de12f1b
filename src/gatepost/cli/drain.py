"""`gatepost drain`: take no more mail, let what is here go, then stop."""

import contextlib
import time
from typing import Annotated, Any

import cyclopts

from gatepost.cli.choice import Progress
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_NOT_DONE, Caller, ConfigFile, complain
from gatepost.model.foreign_text import printable

_LOOK_S = 0.25
_REASONS = 10


def drain(
    *,
    timeout: Annotated[float, cyclopts.Parameter(help="seconds after which what is left stays; 0 = no end")] = 300.0,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Stop accepting, wait until everything that can go is gone, say what remains and why, and stop the gateway.

    Mail that is held or paused is not waited for. Broken off (Ctrl-C), the gateway runs on and does not accept: go on
    with `drain`, or accept again with `recv-on`. Codes: 0 empty, 4 something remains in the queue.
    """
    caller = Caller(conf_file, queue_codes=True)
    modules = caller("status")["modules"]
    off = [name for name in ("scanner", "sender") if not modules[name]]
    if off:
        return complain(f"{' and '.join(off)} switched off: nothing would go out", EXIT_NOT_DONE)
    try:
        caller("switch", module="recv", on=False)
        _wait(caller, time.monotonic() + timeout if timeout else None)
        remains = _remains(caller)
    except KeyboardInterrupt:
        return complain("broken off: reception stays off until `gatepost recv-on`", EXIT_NOT_DONE)
    for line in remains:
        print(line)
    caller("stop")
    print("stopping, the queue is empty" if not remains else "stopping, the rest stays in the queue")
    return EXIT_NOT_DONE if remains else 0


def _wait(caller: Caller, end: float | None) -> None:
    progress = Progress()
    with contextlib.closing(_Clearing(progress)):
        while end is None or time.monotonic() < end:
            answer = caller("status")
            going = _going(answer)
            if not going:
                return
            queue = answer["queue"]
            progress.show(
                f"{answer['counters'].get('mta_incoming_connections_current', 0)} session(s), {queue['waiting']} await "
                f"inspection, {queue['ready']} await delivery, {queue['held']} held …"
            )
            time.sleep(_LOOK_S)


class _Clearing:
    def __init__(self, progress: Progress) -> None:
        self.close = progress.clear


def _going(answer: dict[str, Any]) -> bool:
    """Tell whether there is still something to wait for: a session, or mail that is neither held nor paused."""
    if any("error" in relay for relay in answer["relays"]):
        return True
    paused = sum(relay["paused_messages"] for relay in answer["relays"])
    queue = answer["queue"]
    in_work = sum(sum(relay["in_work"].values()) for relay in answer["relays"])
    sessions = answer["counters"].get("mta_incoming_connections_current", 0)
    return bool(sessions or in_work or queue["waiting"] or queue["ready"] > paused)


def _remains(caller: Caller) -> list[str]:
    """Return what is left, a line a reason."""
    answer = caller("summary")
    total = sum(answer["states"].values())
    if not total:
        return []
    lines = [f"{total} message(s) remain:"]
    states = answer["states"]
    if states.get("WFC", 0) or states.get("CHK", 0):
        lines.append(f"  {states.get('WFC', 0) + states.get('CHK', 0)} await inspection")
    reasons = (*answer["reasons"].items(), *((f"held: {why}", count) for why, count in answer["held"].items()))
    lines += [f"  {count}: {printable(reason)}" for reason, count in reasons[:_REASONS]]
    if len(reasons) > _REASONS:
        lines.append("  … `gatepost queue list --summary` tells the rest while the gateway runs")
    return lines
