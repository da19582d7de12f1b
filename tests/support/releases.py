"""Releases whose relay is killed at a chosen step of the protocol. Used by the tests and by `make prove NAME=release`."""

import itertools
import re
from pathlib import Path
from typing import Any, Self

from tests.faults.support_gateway import RELAY, flag, injected
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

STEPS = ("before-claim", "after-claim", "before-accept", "after-accept", "before-end", "after-end")
"""Where the relay is killed: around each of the three steps of a release."""

KILLS = """
import signal
from gatepost.relay import releasing
from gatepost.spool.writer import SqliteSpool

def strike(step):
    try:
        os.unlink(os.path.join(FLAGS, step))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def around(function, name):
    def struck(*arguments, **named):
        strike("before-" + name)
        result = function(*arguments, **named)
        strike("after-" + name)
        return result
    return struck

releasing.begin_release = around(releasing.begin_release, "claim")
releasing.end_release = around(releasing.end_release, "end")
accept = SqliteSpool.accept

def accept_struck(self, *arguments, **named):
    if not named.get("release"):
        return accept(self, *arguments, **named)
    strike("before-accept")
    future = accept(self, *arguments, **named)
    future.add_done_callback(lambda _: strike("after-accept"))
    return future

SqliteSpool.accept = accept_struck
"""


class ReleaseTrial:
    """A gateway with two relays, both of which can be told to die at a step."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._sink = Sink()
        self._numbers = itertools.count(1)
        self._items: dict[str, str] = {}
        """Subject → item."""
        self._gateway = Gateway(
            place / "gw",
            self._sink.port,
            relays=2,
            replace={"[policy]\n": '[policy]\nsave_in_quarantine = ["infected"]\n'},
            env=injected(place, RELAY, KILLS),
        )

    def __enter__(self) -> Self:
        self._gateway.__enter__()
        # A kill just behind a peer's 250 may repeat a delivery; that is another promise, and not looked at here.
        self._gateway.switch("send", on=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._gateway.__exit__()
        self._sink.close()

    def round(self, step: str, operators: int = 1) -> None:
        """Put a mail into quarantine and release it, while the relay that does it is killed at `step`."""
        subject = f"release {next(self._numbers)} {step}"
        queue_id = self._gateway.send(with_attachment(EICAR, subject=subject))
        line = wait_for(lambda: self._gateway.lines("SAVED, store=quarantine", queue_id), "its record")[0]
        found = re.search(r"item=([0-9A-Z-]+)", line)
        assert found is not None
        item = self._items[subject] = found[1]
        flag(self._place, step)
        for _ in range(operators):
            self._release(item)
        struck = self._place / "injected" / step
        wait_for(lambda: not struck.exists(), f"the kill {step}")
        wait_for(self._in_service, "the relays to be back")
        wait_for(lambda: self._insist(item), f"the release of {item} after a kill {step}")

    def _insist(self, item: str) -> bool:
        """Do as an operator who was told of trouble: begin once more. It is the same release, never a second."""
        answer = self._release(item)
        return answer is not None and "queue_id" in answer[item]

    def _release(self, item: str) -> dict[str, dict[str, Any]] | None:
        answer: dict[str, dict[str, Any]] | None = self._gateway.ask(
            "release",
            check=False,
            directory=str(self._gateway.state / "quarantine"),
            items=[item],
            who="trial",
            recipients=[],
            checked=False,
            again=False,
        )
        return answer

    def _in_service(self) -> bool:
        answer = self._gateway.ask("status", check=False)
        return bool(answer) and all("error" not in relay for relay in answer["relays"])

    def _count(self, subject: str) -> int:
        wanted = f"\r\nSubject: {subject}\r\n".encode()
        return sum(wanted in b"\r\n" + mail.header + b"\r\n" for mail in list(self._sink.mails))

    def check(self) -> int:
        """Let everything go; each mail must arrive once. Return how many there were."""
        self._gateway.switch("send", on=True)
        wait_for(lambda: all(map(self._count, self._items)), "all mails to arrive")
        wait_for(lambda: not self._gateway.queue(), "the queue to be empty")
        for subject, item in self._items.items():
            assert self._count(subject) == 1, f"{subject!r} ({item}) arrived {self._count(subject)} times"
        return len(self._items)
