"""Which messages a queue command means: ids, a filter or all; and the questions asked before many are acted on."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import cyclopts
import msgspec

from gatepost.config.units import Unit, parse_time
from gatepost.model.ids import parse_queue_id
from gatepost.relay.queue_filter import QueueFilter

Yes = Annotated[bool, cyclopts.Parameter(name=["-y", "--yes"], negative="", help="do not ask")]
QueueId = Annotated[str, cyclopts.Parameter(help="queue id, as queue list and the log show it")]
Masks = list[str] | None


def option(name: str, text: str) -> Any:
    """Return what declares one option of a filter: `--name`, which may be given several times."""
    return cyclopts.Parameter(name=[f"--{name}"], negative="", help=text, consume_multiple=False)


@cyclopts.Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """A filter as options; each may be given several times, one of its masks must match."""

    state: Annotated[Masks, option("state", "WFC, CHK, QUE, SND or HLD")] = None
    sender: Annotated[Masks, option("sender", "mask of the sender, without @ of its domain; <> for reports")] = None
    recipient: Annotated[Masks, option("recipient", "mask of a recipient that still waits")] = None
    domain: Annotated[Masks, option("domain", "mask of a recipient domain")] = None
    next_hop: Annotated[Masks, option("next-hop", "mask of host:port by the present routes")] = None
    user: Annotated[Masks, option("user", "mask of who signed in to send it")] = None
    reason: Annotated[Masks, option("why", "text in the reason why it waits")] = None
    older: Annotated[str, option("older", "in the queue for longer than 90s, 15m, 4h, 2d …")] = ""
    younger: Annotated[str, option("younger", "in the queue for less than that")] = ""

    def build(self) -> QueueFilter:
        """Return the filter; ValueError with a sentence."""
        chosen = QueueFilter(
            states=tuple(state.upper() for state in self.state or ()),
            senders=tuple(self.sender or ()),
            recipients=tuple(self.recipient or ()),
            domains=tuple(domain.lower() for domain in self.domain or ()),
            next_hops=tuple(self.next_hop or ()),
            users=tuple(self.user or ()),
            reasons=tuple(self.reason or ()),
            older_than_s=parse_age(self.older),
            younger_than_s=parse_age(self.younger),
        )
        chosen.check()
        return chosen


NOTHING = Chosen()
ALL = QueueFilter()


def parse_age(text: str) -> float:
    """Return the seconds of `90s`, `15 min`, `4h`, `2 days`; 0 for "". ValueError."""
    return parse_time(text, Unit.SECONDS) if text else 0.0


def resolve_choice(ids: Sequence[str], chosen: Chosen, *, everything: bool) -> list[int] | QueueFilter:
    """Return the ids given, or the filter. ValueError unless exactly one way of choosing was used."""
    chosen_filter = chosen.build()
    ways = [bool(ids), chosen_filter != ALL, everything]
    if sum(ways) != 1:
        raise ValueError("say which messages: ids, a filter (--domain, --state …), or --all")
    return [parse_queue_id(each) for each in ids] if ids else chosen_filter


def filter_argument(chosen: QueueFilter) -> Any:
    """Return a filter as the control socket carries it."""
    return msgspec.to_builtins(chosen)


def confirm(question: str) -> bool:
    """Ask on the terminal; whoever cannot answer has not agreed."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False


def agreed(question: str, *, yes: bool) -> bool:
    """Tell whether this is to be done: said so (`yes`), or asked and answered so. What is not done is told."""
    if yes or confirm(question):
        return True
    print("nothing done; --yes does not ask", file=sys.stderr)
    return False


class Progress:
    """A line on a terminal that says how far a long command is."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, text: str) -> None:
        """Replace the line."""
        if sys.stderr.isatty():
            self._shown = True
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
