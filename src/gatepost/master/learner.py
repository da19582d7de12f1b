"""The learner: `python -m gatepost.master.learner`, the one process that changes what was learned.

Started by the master (`master.learning`) when there is something to learn or the weights cannot be used, ends by itself
when there was nothing for a while, and when the master is gone. Standard input: one line of JSON (`LearnerSettings`),
then nothing until its end. Standard output: one line, `ready`; then one for each time the weights were made anew, which
says why. It answers on a local socket in the way of the control socket, and takes in what lies in the watched folders.

It reads no mail: a filter behind its walls says what of a message can be learned, and that is checked here.
"""

import asyncio
import base64
import binascii
import contextlib
import os
import pwd
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import msgspec

from gatepost.antispam.classifier.check import MODEL_NAME
from gatepost.antispam.classifier.lesson import LessonError
from gatepost.antispam.classifier.model import BaseModel, parse_model
from gatepost.antispam.knowledge import load_packaged
from gatepost.control.socket import ControlError, Request, serve
from gatepost.feeds.spam import load_knowledge
from gatepost.filter.pool import FilterFailed, FilterPool, FilterUnavailable
from gatepost.filter.settings import FilterSettings
from gatepost.master.learning import is_message
from gatepost.master.learning_memory import OPERATOR, Memory
from gatepost.model.finding import ScanOptions
from gatepost.model.spam import SpamOptions

IDLE_S = 120.0
"""Time without anything to do after which it ends: it costs memory."""
LOOK_S = 2.0
"""How often it looks into the folders while it runs."""
SETTLED_S = 1.0
"""Age of a file in a folder before it is taken: whoever writes it must be done."""
MESSAGE_LIMIT = 20 * 1024 * 1024
SETTINGS_LIMIT = 256 * 1024
RECENT_LIMIT = 500


class LearnerSettings(msgspec.Struct, frozen=True):
    """What the learner is told."""

    folder: str
    """Directory of journal, snapshot and weights."""
    socket: str
    watched: str
    """Directory with `spam` and `ham` in it."""
    filters_socket: str
    filters: FilterSettings
    hostname: str = ""
    """Our own name: fields above our Received field are not learned."""
    header_prefix: str = "X-SpamTest"


class Learner:
    """The running learner."""

    def __init__(self, settings: LearnerSettings, memory: Memory) -> None:
        self._settings = settings
        self._memory = memory
        self._used = time.monotonic()
        self._pool: FilterPool | None = None

    async def handle(self, request: Request, _: int = 0) -> Any:
        """Answer one call. ControlError."""
        self._used = time.monotonic()
        try:
            self._tend()  # before anything is written to a file that may be gone
            return self._answer(request.call, request.arguments)
        except (LessonError, OSError, ValueError, KeyError, TypeError) as error:
            raise ControlError(str(error) or type(error).__name__) from error

    def _answer(self, call: str, arguments: dict[str, Any]) -> Any:
        memory = self._memory
        match call:
            case "learn":
                return memory.learn(
                    _lesson(arguments),
                    spam=bool(arguments["spam"]),
                    who=str(arguments.get("who", ""))[:200],
                    source=str(arguments.get("source", OPERATOR)),
                    domain=str(arguments.get("domain", "")).lower(),
                    now=time.time(),
                )
            case "forget":
                return memory.forget(_lesson(arguments), str(arguments.get("domain", "")).lower())
            case "undo":
                return memory.undo(str(arguments["who"]), float(arguments.get("since", 0)))
            case "reset":
                return memory.reset()
            case "status":
                return memory.status()
            case "recent":
                return memory.recent(min(RECENT_LIMIT, int(arguments.get("limit", 20))))
            case "export":
                return memory.export(Path(str(arguments["file"])))
            case "import":
                return memory.take(Path(str(arguments["file"])), merge=bool(arguments.get("merge")))
        raise ControlError(f"unknown call {call!r}")

    async def run(self, ended: Callable[[], bool]) -> None:
        """Look into the folders until there is nothing more to do, or `ended` says that the master is gone."""
        while not ended() and time.monotonic() - self._used < IDLE_S:
            for label in ("ham", "spam"):
                for path in ready_files(Path(self._settings.watched) / label, time.time()):
                    self._used = time.monotonic()
                    await self._take(path, spam=label == "spam")
            with contextlib.suppress(OSError, ValueError):  # tried again; the master sees that the file stays broken
                self._tend()
            await asyncio.sleep(LOOK_S)
        if self._pool is not None:
            await self._pool.close()

    def _tend(self) -> None:
        """Have weights that are broken or gone made anew, and say so. OSError, ValueError."""
        if mended := self._memory.mend():
            print(mended, flush=True)

    async def _take(self, path: Path, *, spam: bool) -> None:
        """Learn a file of a watched folder; one that cannot be learned is put aside."""
        try:
            self._tend()
        except (OSError, ValueError):
            return  # no fault of the message
        try:
            content, who = read_file(path)
            raw = await read_lesson(self._filters(), content, self._settings.hostname, self._settings.header_prefix)
            self._memory.learn(raw, spam=spam, who=who, source="folder", domain="", now=time.time())
        except FilterUnavailable:
            return
        except (OSError, ValueError, FilterFailed):
            _put_aside(path)
            return
        _remove(path)

    def _filters(self) -> FilterPool:
        if self._pool is None:
            settings = self._settings
            self._pool = FilterPool(settings.filters, Path(settings.filters_socket), asyncio.get_running_loop())
            self._pool.start()
        return self._pool


def read_file(path: Path) -> tuple[bytes, str]:
    """Return content and owner of a file of a watched folder. OSError; ValueError when it cannot be learned.

    Others may write into the folder, and may change what stands there after it was looked at: a link would teach in
    the name of somebody else, and a pipe would never be read to its end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("no file")
        content = stream.read(MESSAGE_LIMIT + 1)
        number = facts.st_uid
    if len(content) > MESSAGE_LIMIT:
        raise ValueError("message too large to be learned")
    try:
        return content, pwd.getpwuid(number).pw_name
    except KeyError:
        return content, str(number)


def _put_aside(path: Path) -> None:
    aside = path.parent.parent / "failed"
    with contextlib.suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
        path.rename(aside / path.name)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


async def read_lesson(pool: FilterPool, content: bytes, hostname: str, header_prefix: str) -> bytes:
    """Return what a filter says could be learned of a message. FilterFailed, FilterUnavailable."""
    options = ScanOptions(
        scan=False, spam=SpamOptions(learn=True, hostname=hostname, header_prefix=header_prefix, images=False)
    )
    analysis = await pool.inspect("learning", content, len(content), options)
    return analysis.spam.lesson if analysis.spam is not None else b""


def ready_files(folder: Path, now: float) -> list[Path]:
    """Return the files of a watched folder that may be taken, oldest first."""
    try:
        entries = [(entry.stat().st_mtime, Path(entry.path)) for entry in os.scandir(folder) if is_message(entry)]
    except OSError:
        return []
    return [path for written, path in sorted(entries) if now - written >= SETTLED_S]


def _lesson(arguments: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(arguments["lesson"]), validate=True)
    except binascii.Error as error:
        raise ControlError(f"no lesson: {error}") from None


def find_base(settings: FilterSettings) -> BaseModel:
    """Return the base model of the databases that filters use. ModelError; BasesNotLoaded; LookupError: none."""
    bases = settings.spam_bases
    knowledge = load_packaged() if bases is None else load_knowledge(bases, Path(settings.bases_cache) / "spam")
    for _, data in knowledge.by_suffix(MODEL_NAME):
        return parse_model(data)
    raise LookupError("the databases hold no base model")


async def _work(settings: LearnerSettings) -> None:
    memory = Memory(Path(settings.folder), find_base(settings.filters))
    learner = Learner(settings, memory)
    gone = False

    def hear() -> None:
        nonlocal gone
        gone = gone or not os.read(0, 4096)
        if gone:
            asyncio.get_running_loop().remove_reader(0)

    asyncio.get_running_loop().add_reader(0, hear)
    server = await serve(Path(settings.socket), learner.handle)
    print("ready", flush=True)
    if memory.mended:
        print(memory.mended, flush=True)
    try:
        await learner.run(lambda: gone)
    finally:
        server.close()
        _remove(Path(settings.socket))
        memory.close()


def main() -> None:
    """Run the learner process."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, SETTINGS_LIMIT)
        line += piece
        if not piece or len(line) > SETTINGS_LIMIT:
            raise SystemExit("gatepost learner: no settings on standard input")
    try:
        asyncio.run(_work(msgspec.json.decode(line, type=LearnerSettings)))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
