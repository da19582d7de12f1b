"""The filters' template as the master keeps it: one in force, perhaps a new one starting, old ones finishing.

Used by `master.process`. A new template (other databases, other sizes) is started beside the one in force and takes its
place when it says that it is ready; one that cannot start leaves the former where it is. Nothing waits meanwhile:
filters with a message in hand finish it, and each template listens at a name of its own, renamed to the one that relays
know when it comes into force and no sooner: one that is given up leaves nobody before a closed door. Settings say all
that a template works with, databases by their digests: with the same ones the template in force stays.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from gatepost.feeds.rule_samples import lay_aside
from gatepost.filter.settings import FilterSettings
from gatepost.master.children import GIVEN_UP_AFTER, Child
from gatepost.master.fork_server import ForkServer, Process
from gatepost.master.paths import Paths
from gatepost.model.foreign_text import printable

READY_TIMEOUT_S = 120.0
"""Time a new template has to load its databases: compiling a great set anew takes a minute."""
NAMES = 1000
"""Names that templates listen at before they come into force, used again after so many: paths of sockets are short."""
_LINE_LIMIT = 2000
"""Bytes kept of what a template says."""


class _Line:
    """The one line a template says on its standard output: `ready`, or why it cannot start. It may come in pieces."""

    def __init__(self, descriptor: int, ready: Callable[[], None]) -> None:
        """`descriptor` stays the caller's, who may close it before all is read. `ready()` is called when it is."""
        self._descriptor = os.dup(descriptor)
        self._ready = ready
        self._said = b""
        os.set_blocking(self._descriptor, False)
        asyncio.get_running_loop().add_reader(self._descriptor, self._hear)

    def _hear(self) -> None:
        if self._read() and self._said == b"ready\n":
            self._ready()

    def _read(self) -> bool:
        """Read what there is; tell whether that is all."""
        while self._descriptor >= 0:
            try:
                piece = os.read(self._descriptor, _LINE_LIMIT)
            except BlockingIOError:
                return False
            self._said = (self._said + piece)[:_LINE_LIMIT]
            if not piece or b"\n" in piece:
                self._close()
        return True

    def _close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

    def last(self) -> str:
        """Return what a template that has ended gave as its reason, "" for none."""
        if not self._read():
            self._close()  # somebody else has the pipe, too: what it said itself is read
        line = self._said.decode("utf-8", "replace").strip()
        return "" if line == "ready" else printable(line)


class NotReplaced(Exception):  # noqa: N818 - what happened
    """The new template did not come up; the former is in force. The text says why."""


class Templates:
    """The template in force and those around it."""

    def __init__(self, forks: ForkServer, paths: Paths, say: Callable[[str, str], None]) -> None:
        """`say(level, text)` logs."""
        self._forks = forks
        self._paths = paths
        self._say = say
        self._made = 0
        self.generation = 0
        """Of the one in force: relays are told which to ask."""
        self._candidate: Child | None = None
        self._coming: asyncio.Future[None] | None = None
        self._retired: list[Child] = []
        self.current: Child | None = None
        """The one in force, or the first on its way."""
        self._settings: FilterSettings | None = None
        """Its settings."""
        self._up = False
        """One has come up."""
        self.settled = asyncio.Event()
        """The first template has come up, or does not though it was tried often enough."""

    def start(self, settings: FilterSettings) -> None:
        """Start the first template; it is started again whenever it ends."""
        self._settings = settings
        self.current = self._make(settings, None)
        self.current.start()

    async def replace(self, settings: FilterSettings) -> None:
        """Put a new template in the place of the current one, unless that has these settings. NotReplaced."""
        self._give_up("a newer one takes its place")
        if settings == self._settings:
            return
        coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        candidate = self._make(settings, coming)
        self._candidate, self._coming = candidate, coming
        candidate.start()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await coming
        except TimeoutError:
            self._drop(candidate)
            raise NotReplaced(f"the new filter template was not ready within {READY_TIMEOUT_S:g} s") from None
        except (NotReplaced, asyncio.CancelledError):
            self._drop(candidate)
            raise

    @property
    def learned_inode(self) -> int:
        """Of the file of learned weights that the template in force maps, 0 for none."""
        return self._settings.learned_inode if self._settings is not None else 0

    @property
    def work(self) -> bool:
        """Tell whether one has come up."""
        return self._up

    def dismiss(self) -> list[Child]:
        """Start none again; return all that may still run."""
        self._give_up("the gateway stops")
        rest = [child for child in (self.current, *self._retired) if child is not None]
        for child in rest:
            child.dismiss()
        return rest

    def _make(self, settings: FilterSettings, coming: "asyncio.Future[None] | None") -> Child:
        """`coming` is told whether it came up; None for the first, which is tried for ever."""
        self._made += 1
        generation = self._made
        line = self._build_line(settings, generation)
        own = self._paths.filters.with_name(f"filters.{generation % NAMES}")
        line_of: _Line | None = None

        def start() -> Process:
            arguments = ("--socket", str(own))
            process = self._forks.start("gatepost.filter.template", arguments, title="filter template", piped=True)
            assert process.stdin is not None
            assert process.stdout is not None
            nonlocal line_of
            line_of = _Line(process.stdout.fileno(), lambda: self._take_over(child, generation, settings, own))
            # Standard input stays open as the lifeline: its end tells the template that the master is gone.
            with contextlib.suppress(BrokenPipeError):  # it has ended already, as `ended` will be told
                process.stdin.write(line)
            return process

        def ended(_: Child, status: int) -> None:
            own.unlink(missing_ok=True)
            why = line_of.last() if line_of is not None else ""
            child.trouble = why
            if why:
                self._say("E", f"the filter template cannot start: {why}")
            if not self._up and child.ends + 1 >= GIVEN_UP_AFTER:
                self.settled.set()
            if coming is not None and not coming.done():
                child.dismiss()
                coming.set_exception(
                    NotReplaced(f"the new filter template ended with status {status}: {why or 'see the log'}")
                )

        child = Child("filter template", start, ended=ended, say=self._say)
        return child

    def _build_line(self, settings: FilterSettings, generation: int) -> bytes:
        bases = settings.spam_bases
        try:
            bases = lay_aside(bases, self._paths.bases_cache)
        except OSError as error:
            self._say("W", f"mail is compared with no samples of the rules, they cannot be written: {error}")
            bases = msgspec.structs.replace(bases, samples=()) if bases is not None else None
        told = msgspec.structs.replace(settings, generation=generation, spam_bases=bases)
        return msgspec.json.encode(told) + b"\n"

    def _take_over(self, child: Child, generation: int, settings: FilterSettings, own: Path) -> None:
        """Put a template that is ready in force, unless it was given up. `own` is where it listens."""
        if child not in (self.current, self._candidate):
            return
        try:
            own.rename(self._paths.filters)
        except OSError as error:
            self._say("E", f"the filter template cannot be reached at {self._paths.filters}: {error.strerror}")
            child.signal(signal.SIGTERM)
            return
        self._up = True
        self.generation = generation
        self.settled.set()
        if child is self._candidate:
            assert self._coming is not None
            self._settings = settings
            old, self.current = self.current, child
            coming, self._candidate, self._coming = self._coming, None, None
            if old is not None:
                self._retire(old)
            if not coming.done():
                coming.set_result(None)

    def _give_up(self, why: str) -> None:
        """End a template that is still coming."""
        if self._coming is not None and not self._coming.done():
            self._coming.set_exception(NotReplaced(f"the new filter template was given up: {why}"))
        if self._candidate is not None:
            self._drop(self._candidate)

    def _drop(self, candidate: Child) -> None:
        """Retire a template that has not come into force."""
        if candidate is self._candidate:
            self._candidate = self._coming = None
            self._retire(candidate)

    def _retire(self, child: Child) -> None:
        child.dismiss()
        child.signal(signal.SIGTERM)
        self._retired = [each for each in self._retired if each.pid] + [child]
