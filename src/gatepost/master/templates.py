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

READY_TIMEOUT_S = 120.0
"""Time a new template has to load its databases: compiling a great set anew takes a minute."""
NAMES = 1000
"""Names that templates listen at before they come into force, used again after so many: paths of sockets are short."""
_WORD_LIMIT = 64
"""Bytes read of what a template says."""


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

        def start() -> Process:
            arguments = ("--socket", str(own))
            process = self._forks.start("gatepost.filter.template", arguments, title="filter template", piped=True)
            assert process.stdin is not None
            assert process.stdout is not None
            word = process.stdout.fileno()
            os.set_blocking(word, False)
            asyncio.get_running_loop().add_reader(word, self._hear, word, child, generation, settings, own)
            # Standard input stays open as the lifeline: its end tells the template that the master is gone.
            with contextlib.suppress(BrokenPipeError):  # it has ended already, as `ended` will be told
                process.stdin.write(line)
            return process

        def ended(_: Child, status: int) -> None:
            own.unlink(missing_ok=True)
            if not self._up and child.ends + 1 >= GIVEN_UP_AFTER:
                self.settled.set()
            if coming is not None and not coming.done():
                child.dismiss()
                coming.set_exception(NotReplaced(f"the new filter template ended with status {status}: see the log"))

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

    def _hear(self, word: int, child: Child, generation: int, settings: FilterSettings, own: Path) -> None:
        """Take what a template says: the line that it is ready, or, by its end, nothing. It may come in pieces. `own`
        is where it listens.
        """
        said = os.read(word, _WORD_LIMIT)
        if said and b"\n" not in said:
            return
        asyncio.get_running_loop().remove_reader(word)
        if not said or child not in (self.current, self._candidate):
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
