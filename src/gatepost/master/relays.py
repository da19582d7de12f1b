"""The relays of a running gateway as the master sees them: started with their sockets, told what to do, asked, counted.

Used by `master.process` (life) and `master.calls` (questions of operators).
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from gatepost.config.schema import Config
from gatepost.control import channel
from gatepost.control.socket import ControlError
from gatepost.master.children import Child
from gatepost.master.fork_server import ForkServer, Process
from gatepost.master.paths import Paths
from gatepost.master.pauses import Pauses
from gatepost.master.ports import Ports
from gatepost.notices.scan_field import NO_BASES, Bases
from gatepost.relay.admission import SessionTable

ANSWER_TIMEOUT_S = 10.0
MODULES = ("recv", "scan", "spam", "virus", "send")
"""What can be switched: reception, inspection (all of it), its anti-spam part, delivery."""


class Relay:
    """What the master knows of one relay."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.child: Child
        self.channel: channel.Channel | None = None
        self.questions: dict[int, asyncio.Future[Any]] = {}
        """Asked and not answered yet, by number."""
        self.up = asyncio.Event()
        self.counted: tuple[dict[str, int], dict[str, int]] = ({}, {})
        """What it had counted, ever and in this run, when last asked: totals do not fall while one starts anew."""
        self.trouble = ""
        """Why its last start failed, "" once it is up."""


class Relays:
    """All relays."""

    def __init__(
        self,
        *,
        forks: ForkServer,
        paths: Paths,
        ports: Ports,
        pauses: Pauses,
        table_fd: int,
        table: SessionTable,
        say: Callable[[str, str], None],
        on_taught: Callable[[channel.Taught], None],
    ) -> None:
        """`say(level, text)` logs. `on_taught` has a message learned."""
        self._forks = forks
        self._paths = paths
        self._ports = ports
        self._pauses = pauses
        self._table_fd = table_fd
        self.table = table
        self._say = say
        self._on_taught = on_taught
        self._question = 0
        self.all: list[Relay] = []
        self._starts = asyncio.Event()
        """Set when a start has come to something, or to nothing."""
        self.switches = dict.fromkeys(MODULES, True)
        """Modules and whether they are on; they hold until the gateway stops."""
        self.bases = NO_BASES
        self.recorder_socket = ""
        """Where they deliver records, "" when nobody takes any."""
        self.run = f"{os.getpid()}-{time.time_ns()}"
        """Names this run of the gateway, for relays that start anew in it."""

    def install(self, config: Config, generation: int) -> None:
        """Take a (new) configuration into force for what is sent from now on."""
        self._config = config
        self._generation = generation

    def resize(self) -> list[Child]:
        """Have as many relays as the configuration says; return the processes of those dismissed."""
        dismissed = []
        while len(self.all) < self._config.relay.relays:
            relay = Relay(len(self.all))
            self.all.append(relay)
            self._start(relay)
        while len(self.all) > self._config.relay.relays:
            relay = self.all.pop()
            self._dismiss(relay)
            dismissed.append(relay.child)
        self._starts.set()
        return dismissed

    def dismiss(self) -> list[Child]:
        """Tell all relays to stop; return their processes."""
        for relay in self.all:
            self._dismiss(relay)
        return [relay.child for relay in self.all]

    def _dismiss(self, relay: Relay) -> None:
        relay.child.dismiss()
        if relay.channel is not None:
            relay.channel.send(channel.Stop())

    def _start(self, relay: Relay) -> None:
        def start() -> Process:
            ours, theirs = channel.pair()
            try:
                process = self._forks.start(
                    "gatepost.relay.process", (), title=f"relay {relay.index}", channel=theirs.fileno()
                )
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
            relay.channel = channel.Channel(
                ours, lambda message, _: self._on_message(relay, message), lambda: _on_channel_closed(relay)
            )
            self._send_setup(relay, first=True)
            return process

        def ended(_: Child, __: int) -> None:
            self.table.clear_column(relay.index)
            _on_channel_closed(relay)

        relay.child = Child(f"relay {relay.index}", start, ended=ended, say=self._say)
        relay.child.start()

    def send_setup(self) -> None:
        """Tell all relays the configuration in force, and hand them the listening sockets."""
        for relay in self.all[: self._config.relay.relays]:
            self._send_setup(relay, first=False)

    def _send_setup(self, relay: Relay, *, first: bool) -> None:
        if relay.channel is None:
            return
        receives = self.switches["recv"]
        listeners, doors = (self._config.listeners, self._config.doors) if receives else ((), ())
        setup = channel.Setup(
            relay.index,
            str(self._paths.snapshot(self._generation)),
            tuple(range(len(listeners))),
            str(self._paths.filters),
            first,
            tuple(module for module, on in self.switches.items() if not on),
            self._pauses.domains,
            str(self._paths.commands),
            self.bases,
            self.recorder_socket,
            self.run,
            bool(doors),
        )
        if not relay.channel.send(setup, [self._table_fd, *self._ports.descriptors(listeners, doors)]):
            self._say("E", f"relay {relay.index} does not take its configuration: restart it")

    def use_bases(self, bases: Bases) -> None:
        """Tell all relays, those to come too, what their texts are to say of the databases."""
        self.bases = bases
        self.tell(channel.BasesInForce(bases))

    def tell(self, message: channel.Message) -> None:
        """Send a message to every relay that is there; one that comes later finds it in its setup."""
        for relay in self.all:
            if relay.channel is not None:
                relay.channel.send(message)

    def _on_message(self, relay: Relay, message: channel.Message) -> None:
        match message:
            case channel.Up():
                relay.trouble = ""
                relay.up.set()
                self._starts.set()
            case channel.Failed():
                relay.trouble = message.reason
                self._starts.set()
                self._say("E", f"relay {relay.index} cannot start: {message.reason}")
            case channel.Taught():
                self._on_taught(message)
            case channel.Answer():
                future = relay.questions.pop(message.number, None)
                if future is not None and not future.done():
                    if message.error:
                        future.set_exception(ControlError(message.error))
                    else:
                        future.set_result(msgspec.json.decode(message.result))

    async def ask(self, relay: Relay, what: str, **arguments: Any) -> Any:
        """Return a relay's answer. ControlError."""
        self._question += 1
        number = self._question
        if relay.channel is None:
            raise ControlError(f"relay {relay.index} is {relay.child.state}: {relay.trouble or 'it has ended'}")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        relay.questions[number] = future
        relay.channel.send(channel.Ask(number, what, arguments))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await future
        except TimeoutError as error:
            raise ControlError(f"relay {relay.index} does not answer") from error
        finally:
            relay.questions.pop(number, None)

    async def come_up(self, tell: Callable[[str], None]) -> None:
        """Return when every relay has been up once; meanwhile `tell(reason)` is told of each new reason why not."""
        told = ""
        while missing := [relay for relay in self.all if not relay.up.is_set()]:
            self._starts.clear()
            why = "; ".join(f"relay {each.index} cannot start: {each.trouble}" for each in missing if each.trouble)
            if why and why != told:
                tell(why)
                told = why
            await self._starts.wait()

    async def settle(self) -> None:
        """Return when every relay that works has taken what was sent to it; one that starts takes it as it comes."""
        await asyncio.gather(
            *(self.ask(relay, "settled") for relay in self.all if relay.up.is_set()), return_exceptions=True
        )

    async def meet_filters(self, generation: int) -> None:
        """Return when no relay that works gives mail to filters of a template before this one."""
        await asyncio.gather(
            *(self.ask(relay, "filters", generation=generation) for relay in self.all if relay.up.is_set()),
            return_exceptions=True,
        )

    async def find_mute(self) -> str:
        """Return which relays have come up and do not answer, "" when all do. One that starts anew is not asked."""
        asked = [relay for relay in self.all if relay.up.is_set() and relay.channel is not None]
        answers = await asyncio.gather(*(self.ask(relay, "alive") for relay in asked), return_exceptions=True)
        return ", ".join(str(answer) for answer in answers if isinstance(answer, ControlError))

    async def ask_all(self, what: str, **arguments: Any) -> list[Any]:
        """Return all relays' answers in their order. ControlError when one has none."""
        return await asyncio.gather(*(self.ask(relay, what, **arguments) for relay in self.all))


def _on_channel_closed(relay: Relay) -> None:
    if relay.channel is not None:
        relay.channel.close()
        relay.channel = None
    for future in relay.questions.values():
        if not future.done():
            future.set_exception(ControlError(f"relay {relay.index} has ended"))
