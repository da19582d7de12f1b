"""What forms of the mail pages send: chosen rows, filters, ages and days. Pure but for reading the form.

Used by `console.pages.quarantine`, `queue` and `tracking`. Values that make no sense raise ControlError with a
sentence, which becomes the error page.
"""

import urllib.parse
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from litestar.connection import Request

from gatepost.config.units import Unit, parse_time
from gatepost.control.socket import ControlError

ROWS_LIMIT: Final = 200
"""Rows that can be chosen at once: more than a page shows."""
TEXT_LIMIT: Final = 400


class Sent(msgspec.Struct, frozen=True):
    """A form as it was sent."""

    fields: dict[str, list[str]]

    def one(self, name: str, default: str = "") -> str:
        """Return a field's value, cut."""
        values = self.fields.get(name)
        return values[0][:TEXT_LIMIT].strip() if values else default

    def every(self, name: str) -> list[str]:
        """Return all values of a field, distinct, in order. ControlError: too many."""
        values = list(dict.fromkeys(value[:TEXT_LIMIT] for value in self.fields.get(name, ())))
        if len(values) > ROWS_LIMIT:
            raise ControlError(f"more than {ROWS_LIMIT} rows at once")
        return values

    @property
    def confirmed(self) -> bool:
        """Whether the visitor has been asked, and has said yes."""
        return bool(self.one("confirmed"))


async def read_form(request: Request[Any, Any, Any]) -> Sent:
    """Return the form of a request."""
    form = await request.form()
    return Sent({name: [str(value) for value in form.getall(name)] for name in form})


def words(text: str) -> list[str]:
    """Return the values of a field that takes several, between commas or blanks."""
    return text.replace(",", " ").split()


def age(text: str) -> float:
    """Return the seconds of `90s`, `15 min`, `4h`, `2 days`; 0 for "". ControlError."""
    try:
        return parse_time(text, Unit.SECONDS) if text else 0.0
    except ValueError as error:
        raise ControlError(str(error)) from error


def day(text: str, *, end: bool = False) -> float:
    """Return the moment at which a day (`2026-11-22`, or with a time `2026-11-22T14:30`) begins, or with `end` is over,
    in the gateway's zone; 0 for "". ControlError.
    """
    if not text:
        return 0.0
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ControlError(f"{text!r} is no day: 2026-11-22, or with a time 2026-11-22T14:30") from error
    length = timedelta(minutes=1) if "T" in text or " " in text else timedelta(days=1)
    try:
        return (at.astimezone() + (length if end else timedelta())).timestamp()
    except (OverflowError, OSError, ValueError) as error:
        raise ControlError(f"{text!r} is too far away") from error


def count(text: str, most: int) -> int:
    """Return a number from 0 to `most`; 0 for "". ControlError."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or int(text[:9]) > most:
        raise ControlError(f"{text[:20]!r} is no number from 0 to {most}")
    return int(text)


def link(path: str, fields: Mapping[str, str | Iterable[str]]) -> str:
    """Return a path with the fields that have a value as its query."""
    given = [(name, value) for name, value in fields.items() if value]
    return f"{path}?{urllib.parse.urlencode(given, doseq=True)}" if given else path
