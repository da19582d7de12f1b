"""Calls whose failure leaves the rest of a page standing: `try_call`, and several at once with `try_all`.

Used by pages that show much from many places. A page about one thing lets ControlError become the error page.
"""

import asyncio
from typing import Any

import msgspec

from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor
from gatepost.control.link import SignedOut
from gatepost.control.socket import ControlError


class Answer(msgspec.Struct, frozen=True):
    """What came of a call."""

    value: Any = None
    trouble: str = ""
    """Why there is no value."""


class Question(msgspec.Struct, frozen=True):
    """A call to be made."""

    name: str
    arguments: dict[str, Any] = {}


async def try_call(gateway: Gateway, visitor: Visitor, name: str, /, **arguments: Any) -> Answer:
    """Make a call; only that the session has ended is not kept (SignedOut)."""
    try:
        return Answer(await gateway.call(visitor, name, **arguments))
    except SignedOut:
        raise
    except ControlError as error:
        return Answer(trouble=str(error) or "no answer")


async def try_all(gateway: Gateway, visitor: Visitor, *questions: Question) -> list[Answer]:
    """Make calls at once and return the answers in their order."""
    return list(await asyncio.gather(*(try_call(gateway, visitor, each.name, **each.arguments) for each in questions)))
