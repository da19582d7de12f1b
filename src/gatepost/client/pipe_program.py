"""A program as the next hop of the pipe client: one run for each copy, the message on its standard input.

Used by `client.pipe`. The program is called as mail systems' own `sendmail` is: `-f SENDER -- RECIPIENT …` behind the
arguments it is configured with. Promises: no shell is involved; what a program does not say plainly is a temporary
failure; one that overruns its time is killed.
"""

import asyncio
import contextlib
import os
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from gatepost.model.envelope import Recipient
from gatepost.model.reply import Reply, reply
from gatepost.service.proxy_hop import NOT_REACHED, HopLost
from gatepost.smtp.client_events import Transaction
from gatepost.smtp.extensions import Extensions

PERMANENT: Final = frozenset({os.EX_DATAERR, os.EX_NOUSER, os.EX_NOHOST, os.EX_UNAVAILABLE, os.EX_NOPERM})
"""Exit statuses that mean: never. A wrong call or configuration (64, 78) is somebody's mistake, and mended."""
OUTPUT_LIMIT: Final = 4096
"""Bytes of what the program says that are read."""
_OFFERED: Final = Extensions(esmtp=True, eight_bit=True)
_TAKEN: Final = reply(250, "2.0.0", "OK")


class ProgramHop:
    """Runs a program for each copy."""

    alive = True
    """There is no session that could end."""

    def __init__(self, command: str, timeout_s: float) -> None:
        """`command`: path and arguments, with quotes as a shell has them."""
        self._command = shlex.split(command)
        self._timeout_s = timeout_s
        self._transaction: Transaction | None = None
        self._recipients: list[Recipient] = []

    @property
    def extensions(self) -> Extensions:
        """What a program takes: 8-bit content; it knows nothing of reports."""
        return _OFFERED

    async def begin(self, transaction: Transaction) -> Reply:
        """Note the sender."""
        self._transaction = transaction
        self._recipients = []
        return _TAKEN

    async def add(self, recipient: Recipient) -> Reply:
        """Note a recipient."""
        self._recipients.append(recipient)
        return _TAKEN

    async def go_on(self, pieces: Iterable[bytes], *, plain: bool) -> tuple[Reply, ...]:
        """Run the program for all that were added. HopLost."""
        del plain
        assert self._transaction is not None
        return await self._run(self._transaction.sender, self._recipients, pieces)

    async def send(self, transaction: Transaction, pieces: Iterable[bytes]) -> tuple[Reply, ...]:
        """Run the program for one message. HopLost."""
        return await self._run(transaction.sender, transaction.recipients, pieces)

    def abandon(self) -> None:
        """Forget sender and recipients."""
        self._transaction = None

    def close(self) -> None:
        """Nothing is open between two messages."""

    async def _run(self, sender: str, recipients: Iterable[Recipient], pieces: Iterable[bytes]) -> tuple[Reply, ...]:
        to = [each.address for each in recipients]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, "-f", sender or "<>", "--", *to,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
        except OSError as error:
            raise HopLost(f"{self._command[0]}: {error.strerror}", NOT_REACHED) from None
        try:
            async with asyncio.timeout(self._timeout_s):
                said = await self._talk(process, pieces)
        except TimeoutError:
            raise HopLost(f"{self._command[0]} has not ended in time", may_have_it=True) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return (self._answer(process.returncode, said),) * len(to)

    async def _talk(self, process: asyncio.subprocess.Process, pieces: Iterable[bytes]) -> bytes:
        """Give the message away, and return the beginning of what the program says, when it has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        said = asyncio.ensure_future(_first(process.stdout))
        try:
            with contextlib.suppress(ConnectionError):  # it may know early that it does not want the message
                for piece in _line_feeds(pieces):
                    process.stdin.write(piece)
                    await process.stdin.drain()
            process.stdin.close()
            text = await said
        finally:
            said.cancel()
        await process.wait()
        return text

    def _answer(self, status: int | None, said: bytes) -> Reply:
        if status == 0:
            return _TAKEN
        text = " ".join(said.decode("ascii", "replace").split())[:200] or f"status {status} of {self._command[0]}"
        return reply(554, "5.3.0", text) if status in PERMANENT else reply(451, "4.3.0", text)


async def _first(stream: asyncio.StreamReader) -> bytes:
    """Return the beginning of what comes, when all has come."""
    said = b""
    while piece := await stream.read(OUTPUT_LIMIT):
        said = (said + piece)[:OUTPUT_LIMIT]
    return said


def _line_feeds(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces with the line ends of this system."""
    held = b""
    for piece in pieces:
        joined = held + piece
        held = b"\r" if joined.endswith(b"\r") else b""
        yield joined[: len(joined) - len(held)].replace(b"\r\n", b"\n")
    if held:
        yield held
