"""SMTP smuggling between real programs: whatever the bytes, a strict Postfix and we count the same messages.

A stream of the shared table goes to the gateway, and what the gateway takes goes to a Postfix that refuses bare line
feeds and unauthorised pipelining and counts what arrives. And the other way round: a Postfix as lax as they were before
2023 hands what it took on to the gateway.
"""

import csv
import functools
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix
from tests.peers.tap import Tap
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

SHARED = "smtp/smuggling-cases.tsv"
EVIL = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<%b>\r\nDATA\r\n%bsmuggled\r\n.\r\n"
BUILT_IN = {
    f"{before!r}{dot!r}{after!r}": before + dot + after
    for before in (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\r\n\0")
    for dot in (b".", b"..")
    for after in (b"\n", b"\r", b"\r\n", b"\r\r\n")
    if (before, dot, after) != (b"\r\n", b".", b"\r\n")
}
QUIET_S = 0.3
"""How long nothing more must come; a reply to a smuggled command would be there with the reply to the message."""


class Peers(NamedTuple):
    """The gateway with a strict Postfix behind it, and a lax Postfix in front of it, with a sink behind us."""

    gateway: Gateway
    mending: int
    strict: Postfix
    tap: Tap
    lax_port: int
    lax: Postfix
    sink: Sink


def cases() -> dict[str, bytes]:
    """Return the sequences that must not end a message, by name: those built in, and the shared table's when it is there."""
    from smtp_dialogue import shared  # noqa: PLC0415

    found = dict(BUILT_IN)
    return found


