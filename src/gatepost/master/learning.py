"""The master's side of learning: starts the learner when there is something for it, hands calls to it, watches the file
of learned weights. The learner alone makes that anew, and filters are brought to the new one.
"""

import asyncio
import base64
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gatepost.config.schema import Config
from gatepost.control.channel import Taught
from gatepost.control.socket import ANSWER_LIMIT, ControlError, Request, read_answer
from gatepost.doctor.finding import Finding
from gatepost.doctor.learning import judge_learner, judge_values, judge_weights
from gatepost.filter.settings import FilterSettings
from gatepost.master.paths import Paths
from gatepost.storage.weights_file import Look, find_no_numbers, lay_blank, look_at

START_S = 30.0
"""Time it has to make the weights of a full journal and come up."""
ANSWER_S = 25.0
END_S = 5.0
LOOK_S = 3.0
"""How often the master looks whether something lies in the watched folders, and whether the weights are sound: filters
that map a file which was cut off die of it.
"""
VALUES_S = 3600.0
"""How often all of the values are read."""
RETRY_S = 60.0
"""Pause after a learner that could not start."""
LABELS = ("spam", "ham")
WEIGHTS_FILE = "weights.bin"
LEARNER_FILTER_IDLE_S = 10.0
LEARNING_FILTERS = 2
"""Filters beyond those of mail, the learner's and a command's: relays may hold all of theirs for minutes."""
AUTO = "auto"
"""Source of lessons that nobody has looked at."""
TAUGHT_LIMIT = 20
"""Of them that wait for the learner."""
_TRIES = 2


class Learning:
    """Hands calls to the learner. One for the master's life."""

    def __init__(
        self,
        paths: Paths,
        settings: Callable[[], bytes],
        meet: Callable[[], Awaitable[None]],
        say: Callable[[str, str], None],
    ) -> None:
        """`settings` gives the learner's line of settings as they are now; `meet` brings filters to the file of weights
        unless they work with it; `say(level, text)` logs.
        """
        self._folder = paths.learned
        self._weights = paths.learned / WEIGHTS_FILE
        self._watched = paths.learn
        self._socket = paths.learner
        self._settings = settings
        self._meet = meet
        self._say = say
        self._trouble = ""
        """Why the learner could not start when it was tried last."""
        self._broken = ""
        """What was told of the weights."""
        self._no_numbers = ""
        self._values_at = -VALUES_S
        self._listener: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._taught: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Start the learner whenever something lies in the watched folders, or the weights cannot be used; bring
        filters to weights they do not know.
        """
        while True:
            look = look_at(self._weights)
            self._tell(look)
            if look.inode:
                await self._meet()
                await self._look_at_values()
            pause = LOOK_S
            if look.trouble or any(has_messages(self._watched / label) for label in LABELS):
                try:
                    await self._start()
                except ControlError:  # said, and shown
                    pause = RETRY_S
            await asyncio.sleep(pause)

    async def _look_at_values(self) -> None:
        """Look once an hour whether all weights are numbers: a filter goes on without the others and tells nobody. The
        learner makes them anew when it starts.
        """
        if time.monotonic() - self._values_at < VALUES_S:
            return
        self._values_at = time.monotonic()
        trouble = await asyncio.to_thread(find_no_numbers, self._weights)
        if trouble:
            self._say("W", f"learned weights: {self._weights}: {trouble}; they are made anew of what was taught")
            await self.stop()
            with contextlib.suppress(ControlError):  # said, and shown
                await self._start()
            trouble = await asyncio.to_thread(find_no_numbers, self._weights)
        self._no_numbers = trouble

    def _tell(self, look: Look) -> None:
        if look.trouble and look.trouble != self._broken:
            self._say("W", f"learned weights: {self._weights}: {look.trouble}; filters rate by the base model alone")
        self._broken = look.trouble

    def findings(self) -> Iterator[Finding]:
        """State what is wrong with learning."""
        yield from judge_weights(self._weights, look_at(self._weights))
        yield from judge_values(self._weights, self._no_numbers)
        yield from judge_learner(self._folder, self._trouble)

    async def ask(self, arguments: Mapping[str, Any]) -> Any:
        """Hand a call (`call` among the arguments) to the learner. ControlError."""
        request = Request(str(arguments.get("call", "")), {key: arguments[key] for key in arguments if key != "call"})
        for attempt in range(_TRIES):
            await self._start()
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await self._call(request)
            except (ConnectionError, FileNotFoundError, EOFError):
                if attempt + 1 == _TRIES:
                    raise ControlError("the learner ends whenever it is asked: see the log") from None
                await self.stop()  # it was about to end for want of work
            except TimeoutError:
                raise ControlError("the learner does not answer") from None
        raise AssertionError

    def take(self, taught: Taught) -> None:
        """Have a message learned, sometime; what comes while too many wait is let go."""
        if len(self._taught) < TAUGHT_LIMIT:
            order = {"call": "forget" if taught.forget else "learn", "lesson": base64.b64encode(taught.lesson).decode()}
            task = asyncio.create_task(
                self._take({**order, "spam": taught.spam, "who": taught.who, "source": taught.source or AUTO})
            )
            self._taught.add(task)
            task.add_done_callback(self._taught.discard)

    async def _take(self, arguments: Mapping[str, Any]) -> None:
        try:
            await self.ask(arguments)
        except (ControlError, OSError, ValueError) as error:
            self._say("W", f"a message is not learned: {error}")

    async def stop(self) -> None:
        """End the learner; it begins anew with the next call, with settings and databases as they are then."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _call(self, request: Request) -> Any:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=ANSWER_LIMIT)
        try:
            writer.write(msgspec.json.encode(request) + b"\n")
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise EOFError
        return read_answer(line, "the learner")

    async def _start(self) -> None:
        async with self._lock:
            if self._process is not None and self._process.returncode is None:
                return
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gatepost.master.learner",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            self._process = process
            try:
                process.stdin.write(self._settings() + b"\n")
                async with asyncio.timeout(START_S):
                    line = (await process.stdout.readline()).decode("utf-8", "replace").strip()
            except (TimeoutError, ConnectionError):
                line = "it did not come up in time"
            if line != "ready":
                await self.stop()
                self._trouble = f"the learner cannot work: {line or 'it ended at once'}"
                self._say("E", self._trouble)
                raise ControlError(self._trouble)
            self._trouble = ""
            self._listener = asyncio.create_task(self._listen(process.stdout))

    async def _listen(self, words: asyncio.StreamReader) -> None:
        """Hear of each time the learner makes the weights anew."""
        while line := (await words.readline()).decode("utf-8", "replace").strip():
            self._say("W", f"learned weights: {self._weights}: {line}; made anew of what was taught")
            await self._meet()


def prepare_learning(paths: Paths) -> None:
    """Make the directories of learning, and the file of weights where nothing was taught yet: the first lesson then
    needs no new template. Called before anything is started that maps it. OSError.
    """
    for path in (paths.learned, *(paths.learn / label for label in LABELS)):
        path.mkdir(0o700, parents=True, exist_ok=True)
    if not any(paths.learned.iterdir()):
        lay_blank(paths.learned / WEIGHTS_FILE)


def learner_settings(config: Config, paths: Paths, filters: FilterSettings) -> bytes:
    """Return the learner's line of settings: `learner.LearnerSettings`, which the master does without importing."""
    bases = filters.spam_bases
    if bases is not None:  # of which it wants the base model: samples could be longer than its line may be
        filters = msgspec.structs.replace(filters, spam_bases=msgspec.structs.replace(bases, samples=()))
    settings = {
        "folder": str(paths.learned),
        "socket": str(paths.learner),
        "watched": str(paths.learn),
        "filters_socket": str(paths.filters),
        "filters": msgspec.structs.replace(filters, minimum=0, spare=1, maximum=1, idle_s=LEARNER_FILTER_IDLE_S),
        "hostname": config.network.hostname,
    }
    return msgspec.json.encode(settings)


def is_message(entry: "os.DirEntry[str]") -> bool:
    """Tell whether an entry of a watched folder is a message, not what somebody is still writing."""
    return not entry.name.startswith(".") and not entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False)


def has_messages(folder: Path) -> bool:
    """Tell whether there is anything to learn in a watched folder."""
    try:
        with os.scandir(folder) as entries:
            return any(is_message(entry) for entry in entries)
    except OSError:
        return False
