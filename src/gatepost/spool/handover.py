"""What goes between the event loop and the spool's thread: a group of changes and questions, and what came of it.

Used by `writer.SqliteSpool` only.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from gatepost.model.record import Record
from gatepost.spool.change import Change
from gatepost.spool.database import Database, Outcome
from gatepost.spool.interface import Consumer, SpoolError
from gatepost.spool.reading import Reader

Query = Callable[[Reader], Any]


class Group(msgspec.Struct):
    """One hand-over to the thread, and what it made of it."""

    changes: list[tuple[Change, asyncio.Future[None]]]
    queries: list[tuple[Query, asyncio.Future[Any]]]
    entered: list[Record]
    positions: dict[str, tuple[int, bytes]]
    outcome: Outcome | None = None
    error: Exception | None = None
    """The commit failed as a whole."""
    answers: list[tuple[Any, Exception | None]] = []


class View(msgspec.Struct):
    """A consumer of the outbox."""

    name: str
    consumer: Consumer
    live: bool = False


def answer(database: Database, query: Query) -> tuple[Any, Exception | None]:
    """Return (answer, None), or (None, what went wrong); never raises."""
    try:
        database.check()
        return query(database.reader), None
    except SpoolError as error:
        return None, error
    except Exception as error:  # noqa: BLE001 - goes to whoever asked; without its thread the spool would stand still
        return None, SpoolError(f"reading the spool failed: {type(error).__name__}: {error}")


def own_error(error: Exception | None) -> Exception:
    """Return an exception of its own for each waiter: a shared one would gather everybody's traceback."""
    if isinstance(error, SpoolError):
        return type(error)(str(error))
    return SpoolError(f"{type(error).__name__}: {error}")
