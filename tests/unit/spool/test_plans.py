"""No statement of the spool reads a whole table: what a million waiting messages cost is decided here."""

import asyncio

import msgspec

from gatepost.spool.interface import Destination, Pending, State
from gatepost.spool.schema import open_connection
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.spool_suite import LARGE, SMALL, new_message, record

ALLOWED = ("SCAN carray", "SCAN CONSTANT ROW", "SCAN tally", "SCAN destination USING INDEX destination_paused")
"""The ids given, a row of constants, the table that has one row, and an index of what an operator has paused."""


async def do_everything(spool):
    pending = (Pending(0, "one.example", 5.0), Pending(1, "two.example", 6.0))
    for message_id, data in ((1, SMALL), (2, LARGE), (3, SMALL), (4, SMALL), (5, SMALL)):
        await spool.accept(new_message(spool, message_id, data), [record("in")])
    stored = await spool.fetch(1)
    ready = msgspec.structs.replace(stored, state=State.READY, pending=pending)
    await spool.dispose(1, [ready, msgspec.structs.replace(ready, id=10, source=1)], [])
    await spool.settle(3, msgspec.structs.replace(ready, id=3, source=3), [])
    await spool.settle(3, msgspec.structs.replace(ready, id=3, source=3, pending=pending[:1]), [])
    await spool.strike([1, 2])
    await spool.hold(10, "because", [])
    await spool.release(10, 9.0, [])
    await spool.back_off(Destination("one.example", 0, 0.0, 7.0, 1, "down"))
    await spool.destinations(99.0)
    await spool.next_due()
    await spool.due("one.example", 99.0, 10, frozenset({1}))
    await spool.waiting(0, 10)
    await spool.listing(0, 10)
    await spool.advance([3], 1.0)
    for paused in (True, False):
        await spool.pause("one.example", paused=paused)
    for state in (None, State.READY):
        await spool.search(0, 10, state)
        await spool.search(0, 10, state, lambda _: True)
    await spool.destination_page("", 10)
    await spool.paused()
    await spool.oldest_waiting()
    await spool.content(stored.content)
    await spool.remove(10, [])
    for message_id in (1, 2, 3, 4, 5):
        await spool.settle(message_id, None, [record("out")])


def test_every_statement_uses_an_index(tmp_path):
    statements = {}

    def note(_cursor, statement, bindings):
        statements[statement] = bindings
        return True

    async def whole():
        spool = SqliteSpool.open(str(tmp_path / "relay-0"), asyncio.get_running_loop())
        spool._database._connection.set_exec_trace(note)
        spool.consume("log", lambda first, records: spool.confirm("log", first + len(records) - 1))
        await spool.start()
        await do_everything(spool)
        await spool.close()

    asyncio.run(whole())
    connection = open_connection(str(tmp_path / "relay-0" / "spool.db"))
    scans = []
    for statement, bound in statements.items():
        if statement.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", bound).fetchall()
            steps = [step for *_, step in plan if step.startswith("SCAN") and not step.startswith(ALLOWED)]
            scans += [(each, statement) for each in steps]
    connection.close()
    assert len(statements) > 25
    assert scans == []
