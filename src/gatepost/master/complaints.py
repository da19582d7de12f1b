"""What a process says on standard error: passed on to ours, and its last line told when it ends.

Used by `master.console`. A program that fails says why in its last line; a daemon's standard error leads nowhere, so
that line is what the log and the list of problems get. Passing on never waits: mail does not stand still because
nobody reads what the gateway says.
"""

import asyncio
import os
from collections.abc import Callable
from typing import IO, Final

from gatepost.control.standard_error import StandardError
from gatepost.model.foreign_text import printable

PIECE: Final = 65536
KEPT: Final = 4096
"""Bytes of the end that are kept."""
TOLD: Final = 300
"""Characters of the last line that are told."""


class Complaints:
    """The standard error of one process."""

    def __init__(self, stream: IO[bytes], ours: StandardError, told: Callable[[str, int], None]) -> None:
        """Read `stream`, a pipe, in the running loop until it ends; then `told(last line, bytes that could not be
        passed on)`, if anything was said.
        """
        self._stream = stream
        self._ours = ours
        self._told = told
        self._end = b""
        self._lost = 0
        self._loop = asyncio.get_running_loop()
        os.set_blocking(stream.fileno(), False)
        self._loop.add_reader(stream.fileno(), self._hear)

    def _hear(self) -> None:
        try:
            piece = os.read(self._stream.fileno(), PIECE)
        except BlockingIOError:
            return
        if piece:
            self._end = (self._end + piece)[-KEPT:]
            if not self._ours.put(piece):
                self._lost += len(piece)
            return
        self._loop.remove_reader(self._stream.fileno())
        self._stream.close()
        lines = self._end.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if last:
            self._told(printable(last[:TOLD]), self._lost)
