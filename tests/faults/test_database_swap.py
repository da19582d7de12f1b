"""Databases are replaced under load, and filters die in the middle of what they ask: no mail is lost or goes unscanned.

Senders keep their sessions open through several replacements; one mail in ten is infected. In between a set that was
tampered with is refused, and the former goes on.
"""

import contextlib
import itertools
import signal
import smtplib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.support_gateway import TEMPLATE, injected, kill, wait_settled
from tests.support.databases import Databases
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import join, wait_for

SENDERS = 3
MAILS = 150
PACE_S = 0.05
"""Between two mails of a sender: load, and still room for templates to start in."""


class Senders:
    """Clients of one session each, who send until they are told to stop and have sent their share."""

    def __init__(self, gateway: Gateway) -> None:
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self.clean: list[str] = []
        self.infected: list[str] = []
        self.trouble: list[str] = []
        self._clients = [gateway.client(60) for _ in range(SENDERS)]
        self._threads = [threading.Thread(target=self._run, args=(each,), daemon=True) for each in self._clients]
        for thread in self._threads:
            thread.start()

    @property
    def sent(self) -> int:
        return len(self.clean) + len(self.infected)

    def end(self) -> None:
        """Have all of them finish, and their sessions found open."""
        self._stop.set()
        join(*self._threads)
        for client in self._clients:
            assert client.noop()[0] == 250
            client.quit()

    def _run(self, client: smtplib.SMTP) -> None:
        try:
            while not self._stop.wait(PACE_S) or self.sent < MAILS:
                number = next(self._numbers)
                subject = f"swap-{number}."
                bad = number % 10 == 0
                data = EICAR if bad else b"data %d" % number
                content = with_attachment(zipped(data) if number % 20 else data, "a.bin", subject)
                assert client.sendmail("sender@example.net", ["user@example.org"], content) == {}
                (self.infected if bad else self.clean).append(subject)
        except (smtplib.SMTPException, OSError, AssertionError) as error:
            self.trouble.append(repr(error))


def template(gateway: Gateway) -> int:
    pid = gateway.status()["filter_template"]["pid"]
    assert isinstance(pid, int)
    return pid


def number_in_force(gateway: Gateway) -> int:
    number = gateway.status()["databases"][0]["number"]
    assert isinstance(number, int)
    return number


def other_descriptors(gateway: Gateway) -> int:
    """Return how many sockets, pipes, processes and contents in memory the relays hold, but for the socket and the
    process of each filter. Files are not counted: stores are opened when something is kept for the first time.
    """
    count = 0
    for relay in gateway.status()["relays"]:
        for each in Path(f"/proc/{relay['pid']}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(each.readlink())
                count += not target.startswith("/") or target.startswith("/memfd:")
        count -= 2 * len(relay["filter_pids"])
    return count


def all_there(gateway: Gateway) -> bool:
    """Tell whether each relay has all it holds for good: the template it has filters of, and the recorder. Those that
    have not had a mail yet may get theirs later.
    """
    relays = gateway.status()["relays"]
    accepted = " 0001 03 "  # a stream, connected
    recorder = str(gateway.state / "run" / "recorder.sock")
    sockets = Path("/proc/net/unix").read_text().splitlines()
    connected = sum(accepted in line and line.endswith(recorder) for line in sockets)
    return connected == len(relays) and all(relay["filter_pids"] for relay in relays)


def by_command(gateway: Gateway) -> None:
    assert gateway.command("reloadbases").returncode == 0


def by_signal(gateway: Gateway) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


def by_file(gateway: Gateway) -> None:
    (gateway.state / "control" / ".c_db_reload").touch()


@pytest.mark.parametrize(
    ("relays", "ways"), [(1, (by_signal, by_command)), (3, (by_command, by_signal, by_file, by_command))]
)
def test_databases_are_replaced_under_load(
    tmp_path: Path, relays: int, ways: tuple[Callable[[Gateway], None], ...]
) -> None:
    databases = Databases(tmp_path)
    databases.put(1, EICAR)
    with (
        Sink() as sink,
        Gateway(tmp_path / "gw", sink.port, relays=relays, replace=databases.configured) as gateway,
    ):
        gateway.send(plain("warm"))
        wait_for(lambda: sink.mails, "the first mail")
        wait_settled(gateway)
        wait_for(lambda: all_there(gateway), "filters and the recorder for all relays")
        before = other_descriptors(gateway)
        senders = Senders(gateway)
        for number, replace in enumerate(ways, 2):
            if number == 3:
                refuse_a_tampered_set(gateway, databases)
            former, arrived, word = template(gateway), len(sink.mails), b"known from %d on" % number
            databases.put(number, EICAR, word)
            replace(gateway)
            wait_for(lambda wanted=number: number_in_force(gateway) == wanted, "the new set to be in force")
            wait_for(lambda old=former: template(gateway) not in {0, old}, "its template")
            wait_for(lambda seen=arrived: len(sink.mails) > seen, "mail to go on")
            wait_for(lambda data=word: finds(gateway, data), "the filters to use it")
        senders.end()
        wait_settled(gateway)
        assert senders.trouble == []
        assert senders.sent >= MAILS
        check_arrivals(gateway, sink, senders)
        wait_for(lambda: other_descriptors(gateway) <= before, "the relays to have closed what they held")
        filters = [relay["filters"] for relay in gateway.status()["relays"]]
        assert sum(each["crashed"] + each["killed"] + each["failed"] for each in filters) == 0
        assert "starts again in" not in gateway.log()


def refuse_a_tampered_set(gateway: Gateway, databases: Databases) -> None:
    current, number = template(gateway), number_in_force(gateway)
    bad = databases.put(90, b"never known")
    (bad / "known.hash").write_text("")
    assert gateway.command("reloadbases").returncode != 0
    assert (template(gateway), number_in_force(gateway)) == (current, number)
    for path in bad.iterdir():
        path.unlink()
    bad.rmdir()


def finds(gateway: Gateway, data: bytes) -> bool:
    """Tell whether the filters know this object."""
    queue_id = gateway.send(with_attachment(data, "probe.bin", "probe"))
    line = wait_for(lambda: gateway.lines("SCANNED", queue_id), "its line in the log")[0]
    return 'status="infected"' in line


def check_arrivals(gateway: Gateway, sink: Sink, senders: Senders) -> None:
    """Every clean mail has arrived once, no infected one has, and all were scanned."""
    marks = Counter(
        line.removeprefix(b"Subject: ").decode()
        for mail in sink.mails
        for line in mail.header.split(b"\r\n")
        if line.startswith(b"Subject: swap-")
    )
    assert marks == Counter(senders.clean)
    statuses = Counter(line.partition('status="')[2].partition('"')[0] for line in gateway.lines("SCANNED"))
    assert set(statuses) == {"clean", "infected"}
    assert statuses["infected"] >= len(senders.infected)


# -- filters that die while they ask -----------------------------------------------------------------------------------

DYING = """
import mmap
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.filter import asker
from gatepost.filter.dialogue import ConnectionQuestion
deaths = mmap.mmap(-1, 16)  # shared by all filters: they can write nothing else
job = b""
def die(phase, place):
    if b"DIE-%s-ALWAYS" % phase in job or (b"DIE-%s-ONCE" % phase in job and not deaths[place]):
        deaths[place] = 1
        os._exit(9)
receive, ask, connect, cure = (
    asker.Asker.receive_job, asker.Asker._ask, asker.Asker.connect, BuiltinEngine.cure
)
def dying_receive(self):
    global job
    word = receive(self)
    job = word[0].content or b""
    die(b"JOB", 0)
    return word
def dying_ask(self, question):
    phase = (b"CONNECTION", 1) if isinstance(question, ConnectionQuestion) else (b"KEYS", 2)
    say = self.say
    def say_and_die(*words):
        say(*words)
        die(*phase)
    self.say = say_and_die
    try:
        return ask(self, question)
    finally:
        self.say = say
def dying_connect(self, engine):
    connection = connect(self, engine)
    if connection.sock is not None:
        die(b"PASSED", 3)
    return connection
def dying_cure(self, subject):
    die(b"CURE", 4)
    return cure(self, subject)
asker.Asker.receive_job = dying_receive
asker.Asker._ask = dying_ask
asker.Asker.connect = dying_connect
BuiltinEngine.cure = dying_cure
"""
ENGINE = '\n[[engine]]\nname = "own"\nkind = "command"\ncommand = ["/bin/true"]\n'
"""With a command nothing is remembered, so no keys are asked about; without it, no connection."""
PHASES = {"JOB": "", "KEYS": "", "CURE": "", "CONNECTION": ENGINE, "PASSED": ENGINE}
"""When a filter dies, and in which gateway. With the job in hand; its question about keys asked; in the middle of a
cure; its question for a connection asked; the connection received."""

Mortal = tuple[Gateway, Sink]


@pytest.fixture(scope="module")
def mortals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Mortal]]:
    """Gateways by what they have beside the built-in engine."""
    with contextlib.ExitStack() as stack:
        made = {}
        for settings in ("", ENGINE):
            place = tmp_path_factory.mktemp("mortal")
            sink = stack.enter_context(Sink())
            env = injected(place, TEMPLATE, DYING)
            made[settings] = (stack.enter_context(Gateway(place / "gw", sink.port, settings=settings, env=env)), sink)
        yield made


@pytest.fixture
def mortal(mortals: dict[str, Mortal], phase: str) -> Mortal:
    return mortals[PHASES[phase]]


def mail_for(phase: str, how: str) -> bytes:
    """A mail with all there is to be asked about: an attachment, and with CURE one that can be cured."""
    data = b"CURE-" + EICAR if phase == "CURE" else f"{phase} {how}".encode()
    return with_attachment(data, "a.com", f"DIE-{phase}-{how}")


def renew_filters(gateway: Gateway) -> None:
    """Have filters that hold no connection yet."""
    wait_settled(gateway)
    (relay,) = gateway.status()["relays"]
    for pid in relay["filter_pids"]:
        kill(pid)
    former = set(relay["filter_pids"])

    def is_renewed() -> bool:
        pids = set(gateway.status()["relays"][0]["filter_pids"])
        return bool(pids) and not pids & former

    wait_for(is_renewed, "new filters")


def losses(gateway: Gateway) -> tuple[int, int]:
    (relay,) = gateway.status()["relays"]
    return relay["filters"]["crashed"], relay["filters"]["failed"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_filter_that_dies_once_is_replaced_and_the_mail_inspected_again(mortal: Mortal, phase: str) -> None:
    gateway, _ = mortal
    renew_filters(gateway)
    crashed, failed = losses(gateway)
    queue_id = gateway.send(mail_for(phase, "ONCE"))
    wanted = "disinfected" if phase == "CURE" else "clean"
    (line,) = wait_for(lambda: gateway.lines("SCANNED", queue_id), "the second inspection")
    assert f'status="{wanted}' in line
    wait_for(lambda: gateway.lines("DELIVERED", queue_id), "the mail")
    assert losses(gateway) == (crashed + 1, failed)


@pytest.mark.parametrize("phase", PHASES)
def test_a_mail_that_takes_two_filters_with_it_is_an_error_by_policy(mortal: Mortal, phase: str) -> None:
    gateway, sink = mortal
    gateway.send(plain("before"))
    renew_filters(gateway)
    before = other_descriptors(gateway)
    crashed, failed = losses(gateway)
    queue_id = gateway.send(mail_for(phase, "ALWAYS"))
    (line,) = wait_for(lambda: gateway.lines("SCANNED", queue_id), "the end of the inspection")
    assert 'status="error"' in line
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the mail to be blocked")
    assert losses(gateway) == (crashed + 2, failed + 1)
    arrived = len(sink.mails)
    gateway.send(with_attachment(b"harmless", "b.bin", f"after {phase}"))
    wait_for(lambda: len(sink.mails) > arrived, "the next mail")
    wait_settled(gateway)
    wait_for(lambda: other_descriptors(gateway) <= before, "the relay to have closed what it held")
