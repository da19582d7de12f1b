"""The recorder as the master sees it: its process, and the calls about what became of mail, which it answers.

Used by `master.process`. Mail never waits for the recorder: while it is away, relays keep what they would tell it.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ANSWER_LIMIT, ControlError, Request, read_answer
from gatepost.master.children import Child
from gatepost.master.fork_server import ForkServer, Process
from gatepost.master.licensing import counts_usage
from gatepost.master.paths import Paths
from gatepost.recorder.settings import SETTINGS_TAKEN, RecorderSettings

ANSWER_S: Final = 25.0
WATCH_S: Final = 15.0
"""From one question whether it lives to the next ..."""
SILENT_LIMIT: Final = 4
"""... so many of which it may leave unanswered in a row, each for `ANSWER_S`: it stands still for minutes then."""
SILENT_LONGEST: Final = 64
"""... at first: twice as many each time a kill has brought none that answers, up to three quarters of an hour."""
SETTLE_S: Final = 5.0
"""A reload waits no longer for it: mail does not either."""
SAID_LIMIT: Final = 4096
"""Bytes of one line it says."""
_ENDLESS: Final = "it was killed and does not end"
_NO_MAIL: Final = "0000000000000"
CALLS: Final = ("tracking.search", "tracking.mail", "tracking.counts", "tracking.series")


class SilentRecorderError(ControlError):
    """It took a question, and has not answered in time."""


class RecorderHost:
    """The recorder, or none."""

    def __init__(self, forks: ForkServer, paths: Paths, say: Callable[[str, str], None]) -> None:
        """`say(level, text)` logs."""
        self._forks = forks
        self._paths = paths
        self._say = say
        self._settings: RecorderSettings | None = None
        self._tracking = False
        """Whether it keeps tracking: for as long as it runs, whatever a reload says."""
        self._process: Process | None = None
        self._heard = b""
        self._owed = 0
        """Settings it was sent and has not taken."""
        self._settled = asyncio.Event()
        self._settled.set()
        self.current: Child | None = None

    @property
    def socket(self) -> str:
        """Where relays deliver their records, "" when nobody takes any."""
        return str(self._paths.recorder) if self.current is not None else ""

    def start(self, config: Config) -> None:
        """Start it, if the configuration wants any of what it keeps or writes."""
        self._tracking = config.tracking.enabled
        if not _is_wanted(config):
            return
        self._settings = recorder_settings(config, self._paths, tracking=self._tracking)
        self.current = Child("recorder", self._start, ended=lambda _, __: None, say=self._say)
        self.current.start()

    def configure(self, config: Config) -> None:
        """Tell it a new configuration; its files are opened anew, as after a rotation."""
        if self.current is None:
            if _is_wanted(config):  # relays were told at their start that nobody takes records
                self._say(
                    "W", "records of mail: nothing was kept until now, what is to be kept begins at the next start"
                )
            return
        self._settings = recorder_settings(config, self._paths, tracking=self._tracking)
        self._tell()

    async def settle(self) -> None:
        """Return when it works by the settings sent to it."""
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._settled.wait()
        except TimeoutError:
            self._say("W", "records of mail: the recorder stands still, it takes the new settings when it goes on")

    def dismiss(self) -> list[Child]:
        """End it, once relays have ended; return its process."""
        child, self.current = self.current, None
        if child is None:
            return []
        child.dismiss()
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has just ended, with settings on their way
                self._process.stdin.close()
        return [child]

    async def watch(self) -> None:
        """Have a recorder that stands still start again, for ever. It loses nothing: relays keep what it has not
        confirmed. Where its disk hangs no kill helps, and while the kernel waits for the disk it does not even end one.
        """
        silent, killed, patience = 0, 0, SILENT_LIMIT
        while True:
            await asyncio.sleep(WATCH_S)
            child, asked = self.current, 0 if self.current is None else self.current.pid
            if child is None or not asked or not self._tracking:
                silent = 0
                continue
            try:
                await self._ask(Request("tracking.mail", {"id": _NO_MAIL}))
            except SilentRecorderError:
                silent += 1
            except ControlError:
                silent = 0  # it answered, or has ended
            else:
                silent, patience = 0, SILENT_LIMIT
            if silent < patience or child.pid != asked:
                continue
            silent = 0
            if asked != killed:
                killed = asked
                self._complain(child, f"it stood still for {patience} questions of {ANSWER_S:.0f} s and was killed")
                patience = min(2 * patience, SILENT_LONGEST)
                child.signal(signal.SIGKILL)
            elif not child.trouble.startswith(_ENDLESS):
                self._complain(child, f"{_ENDLESS}: it waits for a disk that does not answer")

    def _complain(self, child: Child, trouble: str) -> None:
        child.trouble = trouble
        self._say("E", f"recorder: {trouble}")

    def register(self, desk: Desk) -> None:
        """Register the calls it answers. Callers with domains get what is from or to these."""

        async def status(_: Arguments, __: Caller) -> dict[str, Any]:
            return self.status()

        desk.add("tracking.status", Right.VIEW, status)
        for name in CALLS:
            scoped = name != "tracking.series"
            desk.add(name, Right.TRACK if scoped else Right.VIEW, self._forward(name), scoped=scoped)

    def status(self) -> dict[str, Any]:
        """Return whether anything is kept, and how the recorder fares."""
        child = self.current
        return {
            "enabled": self._tracking,
            "state": child.state if child is not None else "stopped",
            "pid": child.pid if child is not None else 0,
            "restarts": child.restarts if child is not None else 0,
        }

    def _forward(self, name: str) -> Callable[[Arguments, Caller], Any]:
        async def forward(arguments: Arguments, caller: Caller) -> Any:
            return await self._ask(Request(name, {**arguments, "domains": list(caller.domains)}))

        return forward

    async def _ask(self, request: Request) -> Any:
        """Return the recorder's answer. ControlError."""
        child = self.current
        if child is None or not self._tracking:
            raise ControlError("nothing is kept of mails: tracking.enabled is off")
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._paths.tracking_socket, limit=ANSWER_LIMIT)
                try:
                    writer.write(msgspec.json.encode(request) + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
        except TimeoutError as error:  # an OSError, too
            raise SilentRecorderError("the recorder does not answer; if it goes on so, it is started again") from error
        except (OSError, ValueError) as error:
            why = f" ({child.trouble})" if child.trouble else ""
            raise ControlError(f"the recorder is {child.state}{why}, ask again in a moment") from error
        if not line.endswith(b"\n"):
            raise ControlError("the recorder ended before it had an answer: see the log")
        return read_answer(line, "the recorder")

    def _start(self) -> Process:
        process = self._forks.start("gatepost.recorder.process", (), title="recorder", piped=True)
        assert process.stdout is not None
        self._process = process
        self._heard = b""
        self._owed = 0
        descriptor = process.stdout.fileno()
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._hear, descriptor)
        self._tell()
        return process

    def _tell(self) -> None:
        """Send the settings. Standard input stays open: its end tells the recorder that the master is gone."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return  # it has just ended, and gets them when it starts again
        self._owed += 1
        self._settled.clear()

    def _hear(self, descriptor: int) -> None:
        """Hear what the recorder has to say: a letter and a text a line, for the log but for `SETTINGS_TAKEN`."""
        try:
            piece = os.read(descriptor, 16 * SAID_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            asyncio.get_running_loop().remove_reader(descriptor)
            self._settled.set()  # none is there to take any
            return
        *lines, self._heard = (self._heard + piece).split(b"\n")
        self._heard = self._heard[-SAID_LIMIT:]
        for line in lines:
            level, _, text = line[:SAID_LIMIT].decode("utf-8", "replace").partition(" ")
            if level == SETTINGS_TAKEN:
                self._owed -= 1
                if not self._owed:
                    self._settled.set()
            if level in {"E", "W", "I"}:
                self._say(level, text)
            if level == "E" and self.current is not None:
                self.current.trouble = text


def _is_wanted(config: Config) -> bool:
    files = (
        config.tracking.json_file,
        config.options.av_statistics,
        config.antispam.filter_stat_log_file,
        config.antispam.filter_user_log_file,
    )
    return config.tracking.enabled or counts_usage(config) or any(files)


def recorder_settings(config: Config, paths: Paths, *, tracking: bool) -> RecorderSettings:
    """Return what the recorder is told of a configuration. `tracking`: it keeps tracking and history."""
    return RecorderSettings(
        directory=str(paths.tracking),
        socket=str(paths.recorder),
        questions=str(paths.tracking_socket),
        tracking=tracking,
        retention_days=config.tracking.retention,
        subjects=config.tracking.subjects.value,
        addresses=config.tracking.addresses.value,
        json_file=config.tracking.json_file,
        av_statistics=config.options.av_statistics,
        spam_statistics=config.antispam.filter_stat_log_file,
        spam_users=config.antispam.filter_user_log_file,
        counts_usage=counts_usage(config),
        licensed_domains=config.network.protected_domains,
    )
