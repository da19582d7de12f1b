"""Cuts the power under a working spool, starts it again on what the disk kept, and says what is wrong.

One `PowerTrial` is one disk's life: work at random, cut, recovery, check, and on with the same disk. Used by the tests
and by the `prove power` command. The model it checks against is a dictionary of what has been promised.
"""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Awaitable, Iterable, Sequence

import msgspec

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.ids import QueueIds
from gatepost.model.record import Held, Record
from gatepost.model.verdict import Splice
from gatepost.spool.content import parse_content_name
from gatepost.spool.interface import Destination, NewMessage, Pending, SpoolError, State, Stored
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.faulty_vfs import SimulatedDisk, SimulatedFiles, mounted

THRESHOLD = 4096
"""Small, so that content files are as common as rows."""

CHECKPOINT_BYTES = 96 * 1024
"""Small, so that a run sees many checkpoints."""

EARLY_SYNC_BYTES = 9000
"""So that content files are synced on both ways: with the commit and beside it."""

OPERATIONS = (5, 900)
"""Range of disk operations before a cut: from within the opening to well past a few checkpoints."""

WORKERS = 5
DOMAINS = ("one.example", "two.example", "three.example")
MOMENT_MS = 1_800_000_000_000


class Flight(msgspec.Struct):
    """A change under way: until it is acknowledged the disk may hold all of it, or nothing."""

    after: dict[int, Stored | None]
    tokens: list[str]
    domain: str = ""
    """Destination whose pause begins or ends."""


class PowerTrial:
    """One disk, worked on and cut again and again. `problems` says what was lost, invented or half done."""

    def __init__(self, seed: int, ignored: Iterable[str] = ()) -> None:
        """`ignored`: classes of sync the disk acknowledges without doing them."""
        self._random = random.Random(seed)  # noqa: S311 - a repeatable workload
        self._disk = SimulatedDisk(ignored=ignored)
        self._ignored = tuple(ignored)
        self.problems: list[str] = []
        self.promises = 0
        """Changes acknowledged."""
        self.cuts = 0
        self._world: dict[int, Stored] = {}
        self._flights: list[Flight] = []
        self._taken: set[int] = set()
        self._promised: set[str] = set()
        self._entered: set[str] = set()
        self._seen: dict[int, str] = {}
        self._serial = 0
        self._ids = QueueIds(0, 0)
        self._paused: set[str] = set()
        self._pausing: str | None = None

    def run(self, cuts: int) -> None:
        """Work and cut `cuts` times; stops at the first problem, since what follows would only repeat it."""
        with tempfile.TemporaryDirectory(prefix="spool-power-") as directory:
            for _ in range(cuts):
                asyncio.run(self._run_once(directory))
                if self.problems:
                    return

    async def _run_once(self, directory: str) -> None:
        self._disk.cut_after = self._random.randint(*OPERATIONS)
        with mounted(self._disk) as vfs:
            await self._work(directory, vfs)
        self._disk = self._disk.survivor(self._random)
        self._disk.ignored = frozenset(self._ignored)
        self.cuts += 1
        with mounted(self._disk) as vfs:
            await self._check(directory, vfs)

    async def _open(self, directory: str, vfs: str) -> SqliteSpool:
        return SqliteSpool.open(
            directory,
            asyncio.get_running_loop(),
            threshold=THRESHOLD,
            files=SimulatedFiles(self._disk),
            vfs=vfs,
            checkpoint_bytes=CHECKPOINT_BYTES,
            early_sync_bytes=EARLY_SYNC_BYTES,
        )

    # The work

    async def _work(self, directory: str, vfs: str) -> None:
        try:
            spool = await self._open(directory, vfs)
        except SpoolError as error:
            if not self._disk.dead:
                self.problems.append(f"open failed with power: {error}")
            return
        if spool.last_id < max(self._world, default=0):
            self.problems.append("last_id is below an id in use")
        self._ids = QueueIds(0, 0, spool.last_id)
        spool.consume("log", self._watch)
        try:
            await spool.start()
            await asyncio.gather(*(self._worker(spool) for _ in range(WORKERS)))
        except SpoolError as error:
            if not self._disk.dead:
                self.problems.append(f"start failed with power: {error}")
        with contextlib.suppress(SpoolError):
            await spool.close()

    def _watch(self, first: int, records: Sequence[Record]) -> None:
        for number, record in enumerate(records, first):
            self._notice(number, record)

    def _notice(self, number: int, record: Record) -> None:
        token = record.reason if isinstance(record, Held) else "?"
        if self._seen.setdefault(number, token) != token:
            self.problems.append(f"record {number} was {self._seen[number]} and is {token}")

    async def _worker(self, spool: SqliteSpool) -> None:
        while not self._disk.dead and not self.problems:
            # The workers drift apart, so that groups differ and a cut meets changes in every stage.
            for _ in range(self._random.randint(0, 4)):
                await asyncio.sleep(0)
            flight, change = self._begin(spool)
            if flight is None or change is None:
                await asyncio.sleep(0)
                continue
            self._flights.append(flight)
            self._taken |= flight.after.keys()
            try:
                await change
            except SpoolError as error:
                if not self._disk.dead:
                    self.problems.append(f"a change failed with power: {error}")
                return
            self.promises += 1
            self._apply(flight)
            self._promised.update(flight.tokens)
            self._flights.remove(flight)
            self._taken -= flight.after.keys()

    def _apply(self, flight: Flight) -> None:
        if flight.domain:
            self._paused ^= {flight.domain}
            self._pausing = None
        for message_id, after in flight.after.items():
            if after is None:
                self._world.pop(message_id, None)
            else:
                self._world[message_id] = after

    def _token(self) -> str:
        self._serial += 1
        return f"t{self._serial}"

    def _begin(self, spool: SqliteSpool) -> tuple[Flight | None, Awaitable[None] | None]:
        try:
            return self._choose(spool)
        except (SpoolError, OSError):
            return None, None

    def _choose(self, spool: SqliteSpool) -> tuple[Flight, Awaitable[None]]:
        chance = self._random
        tokens = [self._token() for _ in range(chance.randint(1, 2))]
        records = [Held(0, 0.0, token) for token in tokens]
        if chance.random() < 0.1:
            token = self._token()
            self._entered.add(token)
            spool.enter([Held(0, 0.0, token)])
        free = sorted(self._world.keys() - self._taken)
        if self._pausing is None and chance.random() < 0.02:
            return self._pause(spool)
        if len(free) < 3 or chance.random() < 0.35:
            new = self._new(spool, State.WAITING)
            generated = [self._new(spool, State.READY)] if chance.random() < 0.3 else []
            after: dict[int, Stored | None] = {each.stored.id: each.stored for each in generated}
            if chance.random() < 0.7:
                after[new.stored.id] = new.stored
                return Flight(after, tokens), spool.accept(new, records, (), generated)
            copies = self._copies(new.stored, chance.randint(1, 3))
            if chance.random() < 0.5:  # as it came, with blind copies
                copies = [new.stored, *(copy for copy in copies if copy.id != new.stored.id)]
            after |= {copy.id: copy for copy in copies}
            return Flight(after, tokens), spool.accept(new, records, copies, generated)
        message = self._world[chance.choice(free)]
        generated = [self._new(spool, State.READY)] if chance.random() < 0.3 else []
        after = {new.stored.id: new.stored for new in generated}
        if chance.random() < 0.1:
            after = {
                each: msgspec.structs.replace(self._world[each], strikes=self._world[each].strikes + 1)
                for each in free[:3]
            }
            return Flight(after, []), spool.strike(free[:3])
        if chance.random() < 0.05:
            after = {each: msgspec.structs.replace(self._world[each], strikes=0) for each in free[:3]}
            return Flight(after, []), spool.pardon(free[:3])
        if chance.random() < 0.1:
            due = float(chance.choice((0, 50)))
            after = {each: _advanced(self._world[each], due) for each in free[:3]}
            return Flight(after, tokens), spool.advance(free[:3], due, records)
        if chance.random() < 0.1:
            return Flight({message.id: None}, tokens), spool.remove(message.id, records)
        if message.state == State.HELD:
            back = State.READY if message.pending else State.WAITING
            pending = tuple(msgspec.structs.replace(each, due=7.0) for each in message.pending)
            fresh = msgspec.structs.replace(message, state=back, pending=pending, strikes=0, reason="")
            return Flight({message.id: fresh}, tokens), spool.release(message.id, 7.0, records)
        if chance.random() < 0.15:
            fresh = msgspec.structs.replace(message, state=State.HELD, reason="because")
            return Flight({message.id: fresh}, tokens), spool.hold(message.id, "because", records)
        if message.state == State.WAITING and chance.random() < 0.5:
            copies = self._copies(message, chance.randint(0, 3))
            after = {message.id: None, **after, **{copy.id: copy for copy in copies}}
            return Flight(after, tokens), spool.dispose(message.id, copies, records, generated)
        if chance.random() < 0.5:
            return Flight({message.id: None, **after}, tokens), spool.settle(message.id, None, records, generated)
        fresh = msgspec.structs.replace(message, state=State.READY, pending=self._pending(), group="g")
        return Flight({message.id: fresh, **after}, tokens), spool.settle(message.id, fresh, records, generated)

    def _pause(self, spool: SqliteSpool) -> tuple[Flight, Awaitable[None]]:
        """Change whether a destination is paused; one such change at a time."""
        domain = self._random.choice(DOMAINS)
        self._pausing = domain
        return Flight({}, [], domain), spool.pause(domain, paused=domain not in self._paused)

    def _pending(self) -> tuple[Pending, ...]:
        chance = self._random
        return tuple(
            Pending(index, chance.choice(DOMAINS), float(chance.randint(1, 99)), chance.randint(0, 3), "450 later")
            for index in range(chance.randint(1, 4))
        )

    def _copies(self, message: Stored, count: int) -> list[Stored]:
        return [
            msgspec.structs.replace(
                message,
                id=message.id if index == 0 and self._random.random() < 0.5 else self._next_id(),
                source=message.id,
                state=State.READY,
                group=f"group{index}",
                splices=(Splice(0, 0, b"X-Note: seen\r\n"),),
                pending=self._pending(),
            )
            for index in range(count)
        ]

    def _next_id(self) -> int:
        self._serial += 1
        return self._ids.next(MOMENT_MS + self._serial)

    def _new(self, spool: SqliteSpool, state: State) -> NewMessage:
        message_id = self._next_id()
        content = spool.stage(message_id)
        data = content_of(message_id)
        for start in range(0, len(data), 3000):
            content.write(data[start : start + 3000])
        recipients = tuple(Recipient(f"r{index}@{domain}") for index, domain in enumerate(DOMAINS))
        stored = Stored(
            id=message_id,
            source=message_id,
            state=state,
            received_at=3.0,
            envelope=Envelope("a@client.example", recipients, Client("192.0.2.7")),
            content=content.ref,
            prefix=b"Received: here\r\n",
            pending=() if state == State.WAITING else self._pending(),
            kind="" if state == State.WAITING else "dsn-failed",
        )
        return NewMessage(stored, content)

    # The check

    async def _check(self, directory: str, vfs: str) -> None:
        recovered: dict[int, str] = {}

        def gather(first: int, records: Sequence[Record]) -> None:
            for number, record in enumerate(records, first):
                recovered[number] = record.reason if isinstance(record, Held) else "?"

        try:
            spool = await self._open(directory, vfs)
        except SpoolError as error:
            self.problems.append(f"it does not open after the cut: {error}")
            return
        try:
            spool.consume("check", gather)
            await spool.start()
            await self._check_messages(spool)
            self._check_records(recovered)
            await self._check_sums(spool)
        except SpoolError as error:
            self.problems.append(f"it cannot be read after the cut: {error}")
        finally:
            with contextlib.suppress(SpoolError):
                await spool.close()
        self._flights.clear()
        self._taken.clear()

    async def _check_messages(self, spool: SqliteSpool) -> None:
        found: dict[int, Stored] = {}
        for message in await spool.listing(0, 1_000_000):
            if not isinstance(message, Stored):
                self.problems.append(f"message {message.id}: {message.what}")
                continue
            found[message.id] = message
            if await spool.content(message.content) != content_of(message.content.id):
                self.problems.append(f"message {message.id} has other bytes than were accepted")
        paused = set(await spool.paused())
        if paused != self._paused and self._pausing is not None:
            self._paused ^= {self._pausing}
        if paused != self._paused:
            self.problems.append(f"paused are {paused} instead of {self._paused}")
        self._pausing = None
        self._flights = [flight for flight in self._flights if not flight.domain]
        for flight in self._flights:
            is_after = [found.get(message_id) == after for message_id, after in flight.after.items()]
            is_before = [found.get(message_id) == self._world.get(message_id) for message_id in flight.after]
            if all(is_after) and not all(is_before):
                self._apply(flight)
                self._promised.update(flight.tokens)
            elif all(is_before) and not all(is_after):
                flight.after = {}
            elif not all(is_after):
                self.problems.append(f"half a change: {sorted(flight.after)}")
        self._flights = [flight for flight in self._flights if not flight.after]
        for message_id, message in self._world.items():
            if found.get(message_id) != message:
                self.problems.append(f"promised {message}, found {found.get(message_id)}")
        for message_id in found.keys() - self._world.keys():
            self.problems.append(f"message {message_id} is back although it was settled, or was never accepted")

    def _check_records(self, recovered: dict[int, str]) -> None:
        if sorted(recovered) != list(range(1, len(recovered) + 1)):
            self.problems.append("record numbers have gaps")
        tokens = list(recovered.values())
        if len(tokens) != len(set(tokens)):
            self.problems.append("a record was written twice")
        missing = self._promised.difference(tokens)
        if missing:
            self.problems.append(f"records lost: {sorted(missing)[:5]}")
        undone = {token for flight in self._flights for token in flight.tokens}
        if undone.intersection(tokens):
            self.problems.append("records of a change that is not there")
        for number, token in self._seen.items():
            if recovered.get(number) != token:
                self.problems.append(f"record {number} was shown as {token} and is {recovered.get(number)}")
                return
        self._entered &= set(tokens)
        self._promised = set(tokens) - self._entered

    async def _check_sums(self, spool: SqliteSpool) -> None:
        world = self._world.values()
        contents = {message.content.id: message.content for message in world}
        expected = {
            "waiting": sum(message.state == State.WAITING for message in world),
            "ready": sum(message.state == State.READY for message in world),
            "held": sum(message.state == State.HELD for message in world),
            "bytes": sum(ref.size for ref in contents.values()),
        }
        counts = await spool.counts()
        if counts != expected:
            self.problems.append(f"counts are {counts} instead of {expected}")
        ready = [message for message in world if message.state == State.READY]
        domains = {pending.domain for message in ready for pending in message.pending}
        due = {
            domain: [
                min(each.due for each in message.pending if each.domain == domain)
                for message in ready
                if any(each.domain == domain for each in message.pending)
            ]
            for domain in domains
        }
        expected_due = {
            domain: Destination(domain, len(dues), min(dues))
            for domain, dues in due.items()
            if domain not in self._paused
        }
        if {each.domain: each for each in await spool.destinations(1e9)} != expected_due:
            self.problems.append("destinations do not agree with the messages")
        names = {parse_content_name(name) for name in SimulatedFiles(self._disk).names(f"{spool.directory}/content")}
        if names != {ref.id for ref in contents.values() if ref.in_file}:
            self.problems.append("content files do not agree with the messages")


def _advanced(message: Stored, due: float) -> Stored:
    """Return a message as `advance` leaves it."""
    if message.state != State.READY:
        return message
    pending = tuple(msgspec.structs.replace(each, due=min(each.due, due)) for each in message.pending)
    return msgspec.structs.replace(message, pending=pending)


def content_of(content_id: int) -> bytes:
    """Return the bytes every content with this id has: about half of them beyond `THRESHOLD`."""
    chance = random.Random(content_id)  # noqa: S311 - the same for the same id
    return chance.randbytes(chance.choice((1, 300, 2000, 4096, 4097, 9000, 20_000)))
