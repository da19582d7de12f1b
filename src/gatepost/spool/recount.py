"""What a shard's database derives from its messages, made anew: its numbers, and the destinations of its queue.

Called by `database.Database` at the opening, when the row of numbers is gone: an operator has saved from a damaged file
what can be read, and left that row out. Costs a pass over all messages, once.
"""

from collections.abc import Callable
from typing import Any

from gatepost.spool.interface import State
from gatepost.spool.schema import PENDINGS, Tally

Execute = Callable[..., Any]


def rebuild(execute: Execute) -> Tally:
    """Make good what follows from the messages and the queue; return the numbers. Call it within a transaction."""
    execute("DELETE FROM queue WHERE message NOT IN (SELECT id FROM message)")
    execute("DELETE FROM shared")
    execute("INSERT INTO shared SELECT content, count(*) FROM message GROUP BY content HAVING count(*) > 1")
    _rebuild_destinations(execute)
    return _count(execute)


def _rebuild_destinations(execute: Execute) -> None:
    """Give every queue row its destination again (its own pending recipients name it), with count and moment."""
    for destination, raw_pending in execute(
        """SELECT destination, pending FROM queue WHERE destination NOT IN (SELECT id FROM destination)
        GROUP BY destination"""
    ).fetchall():
        domain = PENDINGS.decode(raw_pending)[0].domain
        known = execute("SELECT id FROM destination WHERE domain=?", (domain,)).fetchone()
        if known is None:
            execute("INSERT INTO destination(id, domain) VALUES(?, ?)", (destination, domain))
        else:
            execute("UPDATE OR REPLACE queue SET destination=? WHERE destination=?", (known[0], destination))
    execute(
        """UPDATE destination SET
          waiting = (SELECT count(*) FROM queue WHERE queue.destination=id AND queue.due IS NOT NULL),
          due = CASE WHEN paused THEN NULL ELSE (
            SELECT max(min(queue.due), retry_at) FROM queue WHERE queue.destination=id AND queue.due IS NOT NULL) END"""
    )


def _count(execute: Execute) -> Tally:
    """Count; numbers of records go on behind all that were ever confirmed."""
    states = dict(execute("SELECT state, count(*) FROM message GROUP BY state").fetchall())

    def number(statement: str) -> int:
        return int(execute(statement).fetchone()[0] or 0)

    return Tally(
        states.get(State.WAITING.value, 0),
        states.get(State.READY.value, 0),
        states.get(State.HELD.value, 0),
        number("SELECT sum(size) FROM (SELECT max(size) AS size FROM message GROUP BY content)"),
        max(number("SELECT max(id) FROM message"), number("SELECT max(id) FROM content")),
        max(number("SELECT max(first + count - 1) FROM outbox"), number("SELECT max(number) FROM view")),
        clean=False,
    )
