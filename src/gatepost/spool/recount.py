"""The numbers of a shard counted anew, for a database whose own were lost with a damaged page.

Called by `database.Database` at the opening, when the row is gone: after an operator has saved from a damaged file what
can be read. Costs a pass over all messages, once.
"""

from collections.abc import Callable
from typing import Any

from gatepost.spool.interface import State
from gatepost.spool.schema import Tally


def count_anew(execute: Callable[..., Any]) -> Tally:
    """Return the numbers as the tables have them; numbers of records go on behind all that were ever confirmed."""
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
