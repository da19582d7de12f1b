"""What `prove kill` puts on a gateway: senders on two listeners, next hops that defer, and an operator who never rests.

Every mail carries its token in sender and header, so that queue, arrivals and what was promised can be compared: the
unit is a token for one recipient.
"""

import random
import re
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import CLOSE, Sink

ADDRESSES = (
    "user@one.example.org",
    "other@one.example.org",
    "user@two.example.org",
    "user@lmtp.example.org",
    "other@lmtp.example.org",
)
"""Of two groups and two transports; mail to several of them is split."""
DISARMED = "user@two.example.org"
"""Its group lets infected mail through with a placeholder, the others block it."""
ARCHIVE = "archive@bcc.example.org"
"""Gets a blind copy of everything."""
SENDERS = 6
HOLD_REASON = "held by the proof"
VERBS = (
    "hold",
    "hold",
    "release",
    "retry",
    "send-first",
    "scan-first",
    "reroute",
    "rescan",
    "remove",
    "pause",
    "resume",
)
PAUSE_S = (0.02, 0.2)
"""Between two commands."""

Promise = tuple[str, str]
"""Token and recipient."""

_TOKEN = re.compile(rb"^X-Token: (\S+)\r$", re.MULTILINE)


class Load:
    """Senders that never stop: each keeps a connection, sends, notes what got 250, connects again when it breaks."""

    def __init__(self, ports: Sequence[int], seed: int) -> None:
        self._ports = ports
        self._stop = threading.Event()
        self._pause = threading.Event()
        self.accepted = 0
        self.promised: set[Promise] = set()
        self.refused: set[Promise] = set()
        """What may never arrive: infected, for those who do not want it."""
        self.turned_away: list[str] = []
        """Mail that was refused for good, though there is nothing wrong with it."""
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._send, args=(random.Random(seed + i), i), daemon=True) for i in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """Send nothing for a while."""
        self._pause.set()

    def resume(self) -> None:
        """Go on sending."""
        self._pause.clear()

    def stop(self) -> None:
        """End all senders."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _send(self, dice: random.Random, number: int) -> None:
        count = 0
        client: smtplib.SMTP | None = None
        while not self._stop.is_set():
            if self._pause.is_set():
                time.sleep(0.01)
                continue
            count += 1
            token = f"{number}-{count}-{time.time_ns()}"
            infected = dice.random() < 0.04
            size = dice.choice((0, 0, 0, 0, 20_000, 200_000))
            body = with_attachment(EICAR, "e.com") if infected else plain("kill", size=size)
            recipients = dice.sample(ADDRESSES, dice.choice((1, 1, 1, 2, 3)))
            try:
                if client is None:
                    client = smtplib.SMTP("127.0.0.1", self._ports[number % len(self._ports)], timeout=20)
                    client.ehlo("load.example.net")
                client.sendmail(f"{token}@example.net", recipients, f"X-Token: {token}\r\n".encode() + body)
            except smtplib.SMTPResponseException as error:
                if error.smtp_code >= 500 and not infected:
                    self.turned_away.append(f"{token}: {error}")
                _leave(client)
                client = None
            except (OSError, smtplib.SMTPException):
                _leave(client)
                client = None
            else:
                self._note(token, recipients, infected=infected)
        if client is not None:
            client.close()

    def _note(self, token: str, recipients: Sequence[str], *, infected: bool) -> None:
        with self._lock:
            self.accepted += 1
            self.promised.add((token, ARCHIVE))
            for recipient in recipients:
                (self.refused if infected and recipient != DISARMED else self.promised).add((token, recipient))


def _leave(client: smtplib.SMTP | None) -> None:
    if client is not None:
        client.close()
    time.sleep(0.02)


class Hops:
    """The next hops: one by SMTP, one by LMTP, one that mail is rerouted to. They defer one step in twenty."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)

        def defer(step: str, _argument: str, _sink: Sink) -> str | None:
            return "451 4.7.1 later" if step in {"rcpt", "end"} and dice.random() < 0.05 else None

        def defer_or_go(step: str, argument: str, sink: Sink) -> str | None:
            # Not by LMTP: to go away amid the answers for several recipients is to take mail without saying so.
            return CLOSE if step == "end" and dice.random() < 0.002 else defer(step, argument, sink)

        self.smtp = Sink(script=defer_or_go)
        self.lmtp = Sink(script=defer, lmtp=True)
        self.other = Sink()
        self.arrived: dict[Promise, list[float]] = {}
        self.armed: list[str] = []
        """Tokens of mail that arrived infected, blind copies apart."""

    def take(self) -> dict[Promise, list[float]]:
        """Take note of what has arrived since."""
        for sink in (self.smtp, self.lmtp, self.other):
            while sink.mails:
                mail = sink.mails.pop(0)
                found = _TOKEN.search(mail.content)
                if found is None:
                    continue
                token = found[1].decode()
                if mail.recipients != [ARCHIVE] and b"EICAR-STANDARD" in mail.content:
                    self.armed.append(token)
                for recipient in mail.recipients:
                    self.arrived.setdefault((token, recipient), []).append(mail.at)
        return self.arrived

    def close(self) -> None:
        """End them."""
        for sink in (self.smtp, self.lmtp, self.other):
            sink.close()


class Operator:
    """Does this and that to random messages; knows for certain which of them it has removed."""

    def __init__(self, gateway: Gateway, other: Sink, seed: int) -> None:
        self._gateway = gateway
        self._other = f"[127.0.0.1:{other.port}]"
        self._dice = random.Random(seed)
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._asked = threading.Event()
        self.done: Counter[str] = Counter()
        self.removed: dict[Promise, float] = {}
        """When the gateway said that it was gone."""
        self.uncertain: set[Promise] = set()
        """Asked to be removed, and no answer came."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Do nothing for a while; returns when the last command has ended."""
        self._asked.set()
        self._idle.wait(60)

    def resume(self) -> None:
        """Go on."""
        self._idle.clear()
        self._asked.clear()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(60)

    def undo(self) -> None:
        """Resume what is paused and release what is held by this operator."""
        for domain in _domains():
            self._gateway.ask("pause", check=False, domain=domain, paused=False)
        held = {"states": ["HLD"], "reasons": [HOLD_REASON]}
        self._gateway.ask("act", check=False, verb="release", filter=held)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._asked.is_set():
                self._idle.set()
                time.sleep(0.02)
                continue
            time.sleep(self._dice.uniform(*PAUSE_S))
            verb = self._dice.choice(VERBS)
            if verb in {"pause", "resume"}:
                domain = self._dice.choice(_domains())
                if self._gateway.ask("pause", check=False, domain=domain, paused=verb == "pause") == "done":
                    self.done[verb] += 1
                continue
            page = self._gateway.ask("queue", check=False, after=0, limit=100)
            if page and page["items"]:
                self._act(verb, self._dice.choice(page["items"]))

    def _act(self, verb: str, row: dict[str, object]) -> None:
        """Act on one message; what is removed must have its recipients for good, so it is one that was inspected."""
        promises = _promises(row) if verb == "remove" and row["state"] == "QUE" else set()
        if verb == "remove" and not promises:
            return
        text = {"hold": HOLD_REASON, "reroute": self._other}.get(verb, "")
        answer = self._gateway.ask("act", check=False, verb=verb, ids=[row["id"]], text=text)
        if answer and answer["done"]:
            self.done[verb] += 1
            self.removed |= dict.fromkeys(promises, time.time())
        elif not answer:
            self.uncertain |= promises


def _domains() -> list[str]:
    return sorted({address.partition("@")[2] for address in ADDRESSES})


def _promises(row: dict[str, object]) -> set[Promise]:
    """Return what a message in the queue still is to be: empty for blind copies, whose sender is nobody."""
    token, _, rest = str(row.get("sender", "")).partition("@")
    recipients = row.get("recipients", [])
    assert isinstance(recipients, list)
    return {(token, recipient) for recipient in recipients} if rest else set()


def settings(hops: Hops, before_port: int) -> tuple[dict[str, str], str]:
    """Return what is changed in the shipped configuration, and what is added to it."""
    route = (
        f'[[route]]\nrecipients = ["lmtp.example.org"]\nnext_hop = "[127.0.0.1:{hops.lmtp.port}]"\n'
        'transport = "lmtp"\n\n'
    )
    comment = "# Where mail goes on to;"
    changes = {
        comment: route + comment,
        "[network]\n": f'[network]\nincoming_bcc = ["{ARCHIVE}"]\n',
        'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "*.example.org"]',
        'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "1 s"',
        'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "2 s"',
    }
    more = (
        f'\n[[listener]]\naddress = "127.0.0.1:{before_port}"\nbefore_queue = true\n'
        '\n[[group]]\nname = "two"\nrecipients = ["*@two.example.org"]\nblock_message = []\n'
        'action_infected = "placeholder"\n'
    )
    return changes, more


def build_gateway(state: Path, hops: Hops, relays: int) -> tuple[Gateway, int]:
    """Return a gateway for the load, not started, and the port of its listener that inspects before it answers."""
    before_port = free_port()
    changes, more = settings(hops, before_port)
    return Gateway(state, hops.smtp.port, relays=relays, replace=changes, settings=more), before_port
