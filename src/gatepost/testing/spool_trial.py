"""Measures the spool's core: processor time, bytes and commit times for a mail at a given queue length.

`python -m gatepost.testing.spool_trial --help`. The figures of ADR 0001 come from here; no part of the product
calls it.
"""

import argparse
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.ids import QueueIds
from gatepost.model.record import Delivered, Received, Record
from gatepost.spool.change import Accept, Change, Settle
from gatepost.spool.content import DEFAULT_THRESHOLD, Staged
from gatepost.spool.database import CHECKPOINT_BYTES, Database
from gatepost.spool.files import FileLayer
from gatepost.spool.interface import NewMessage, Pending, State, Stored
from gatepost.spool.schema import PAGE_BYTES

MIX = ((0.70, 2_000), (0.25, 28_000), (0.05, 300_000))
"""Share and bytes of the mails of the benchmark mix."""

MOMENT_MS = 1_800_000_000_000


class Trial:
    """One shard under measurement."""

    def __init__(self, directory: str, arguments: argparse.Namespace) -> None:
        self.directory = directory
        self.files = FileLayer()
        self.database = Database(
            directory, self.files, page_bytes=arguments.page, checkpoint_bytes=arguments.checkpoint
        )
        self.threshold = arguments.threshold
        self.ids = QueueIds(0, 0)
        self.random = random.Random(7)  # noqa: S311 - a repeatable mix
        self.client = Client("192.0.2.7", 40_000, "client.example", esmtp=True, listener="in")
        self.blocks = [os.urandom(size) for _, size in MIX]
        self.commits: list[float] = []
        self.queued: list[int] = []
        self.longest_log = 0

    def mail(self, data: bytes, domain: str, state: State = State.WAITING) -> NewMessage:
        message_id = self.ids.next(MOMENT_MS)
        staged = Staged(message_id, self.database.contents, self.threshold, self.files)
        staged.write(data)
        recipient = Recipient(f"someone@{domain}")
        stored = Stored(
            id=message_id,
            source=message_id,
            state=state,
            received_at=MOMENT_MS / 1000,
            envelope=Envelope("sender@client.example", (recipient,), self.client),
            content=staged.ref,
            prefix=b"Received: from client.example by gateway.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n",
            pending=() if state == State.WAITING else (Pending(0, domain, MOMENT_MS / 1000),),
        )
        return NewMessage(stored, staged)

    def pick(self) -> bytes:
        return self.random.choices(self.blocks, [share for share, _ in MIX])[0]

    def commit(self, changes: Sequence[Change]) -> None:
        start = time.perf_counter()
        outcome = self.database.commit(changes, (), {"log": (self.database.tally.records, b"")})
        self.commits.append(time.perf_counter() - start)
        assert not any(outcome.errors), outcome.errors
        start = time.perf_counter()
        self.database.checkpoint()
        self.commits[-1] += time.perf_counter() - start
        self.longest_log = max(self.longest_log, os.stat(f"{self.directory}/spool.db-wal").st_size)  # noqa: PTH116

    def fill(self, queued: int, domains: int) -> None:
        data = self.blocks[0]
        for start in range(0, queued, 1000):
            block = [
                self.mail(data, f"d{n % domains}.example", State.READY) for n in range(start, min(start + 1000, queued))
            ]
            self.queued += [new.stored.id for new in block]
            self.commit([Accept(new, ()) for new in block])
        self.restart()

    def restart(self) -> None:
        """Forget the commits measured so far."""
        self.commits.clear()
        self.longest_log = 0

    def defer(self, attempts: int, group: int) -> None:
        """Write back messages from all over the queue, as after temporary failures; print what that cost."""
        self.restart()
        found = [self.database.reader.fetch(each) for each in self.random.sample(self.queued, attempts)]
        messages = [each for each in found if isinstance(each, Stored) and each.state == State.READY]
        before, moment = blocks_written(), time.process_time()
        for start in range(0, len(messages), group):
            self.commit(
                [
                    Settle(
                        each.id,
                        msgspec.structs.replace(
                            each,
                            pending=(
                                Pending(0, each.pending[0].domain, each.pending[0].due + 900, 1, "450 4.2.0 later"),
                            ),
                        ),
                        (),
                        (),
                    )
                    for each in messages[start : start + group]
                ]
            )
        spent = time.process_time() - moment
        commits = sorted(self.commits)
        sys.stdout.write(
            f"  deferral of {len(messages)} in groups of {group}: {spent / len(messages) * 1e6:.0f} us CPU, "
            f"{(blocks_written() - before) / len(messages) / 1000:.0f} kB each; commit p99 "
            f"{commits[len(commits) * 99 // 100] * 1e3:.1f} longest {commits[-1] * 1e3:.1f} ms\n"
        )


def blocks_written() -> int:
    """Return the bytes this process has had written to the disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_oublock * 512


def received(new: NewMessage) -> list[Record]:
    stored = new.stored
    return [
        Received(
            stored.id,
            stored.received_at,
            "sender@client.example",
            1,
            stored.content.size,
            "192.0.2.7",
            "h",
            "<m@h>",
            "",
        )
    ]


def delivered(new: NewMessage) -> list[Record]:
    stored = new.stored
    return [
        Delivered(
            stored.id,
            stored.received_at,
            "someone@d.example",
            "mx.example",
            stored.content.size,
            sent=True,
            reply="250 ok",
        )
    ]


def run(arguments: argparse.Namespace) -> None:
    directory = tempfile.mkdtemp(dir=arguments.directory)
    try:
        trial = Trial(directory, arguments)
        trial.database.views = ("log",)
        trial.fill(arguments.queued, arguments.domains)
        accepting = settling = 0.0
        before = blocks_written()
        wall = time.perf_counter()
        for _ in range(arguments.mails // arguments.group):
            fresh = [trial.mail(trial.pick(), "d1.example") for _ in range(arguments.group)]
            moment = time.process_time()
            trial.commit([Accept(new, received(new)) for new in fresh])
            accepting += time.process_time() - moment
            moment = time.process_time()
            trial.commit([Settle(new.stored.id, None, delivered(new), ()) for new in fresh])
            settling += time.process_time() - moment
        wall = time.perf_counter() - wall
        written = blocks_written() - before
        commits = sorted(trial.commits)
        mails = arguments.mails // arguments.group * arguments.group
        sys.stdout.write(
            f"page {arguments.page} threshold {arguments.threshold} queued {arguments.queued} group {arguments.group}: "
            f"accept {accepting / mails * 1e6:.0f} us, settle {settling / mails * 1e6:.0f} us CPU a mail, "
            f"{written / mails / 1000:.0f} kB a mail, {mails / wall:.0f} mails/s; commit p50 "
            f"{commits[len(commits) // 2] * 1e3:.1f} p99 {commits[len(commits) * 99 // 100] * 1e3:.1f} longest "
            f"{commits[-1] * 1e3:.1f} ms; log {trial.longest_log / 1e6:.1f} MB\n"
        )
        for name, question in (
            ("destinations", lambda: trial.database.reader.destinations(2e9, 1000)),
            ("next_due", trial.database.reader.next_due),
            ("due", lambda: trial.database.reader.due("d0.example", 2e9, 20, frozenset())),
            ("waiting", lambda: trial.database.reader.waiting(0, 100)),
        ):
            moment = time.perf_counter()
            question()
            sys.stdout.write(f"  {name} {(time.perf_counter() - moment) * 1e3:.2f} ms")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        sys.stdout.write(f"  memory {memory:.0f} MB\n")
        if arguments.queued:
            trial.defer(min(4000, arguments.queued), arguments.group)
        trial.database.close()
    finally:
        shutil.rmtree(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the spool's core.")
    parser.add_argument("--page", type=int, default=PAGE_BYTES)
    parser.add_argument("--threshold", type=int, default=DEFAULT_THRESHOLD)
    parser.add_argument("--queued", type=int, default=0)
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--mails", type=int, default=8000)
    parser.add_argument(
        "--checkpoint", type=int, default=CHECKPOINT_BYTES, help="bytes of log that are copied home at once"
    )
    parser.add_argument("--directory", type=Path, default=None)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
