"""Questions of filters: both ends over a real socket pair, and everything an unsound filter could ask."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from gatepost.antivirus.engine import Connection, Overrun
from gatepost.filter.asker import Asker, Gone, Idle
from gatepost.filter.dialogue import (
    FRAME_HEADER,
    HEADER_SIZE,
    KEY_LIMIT,
    KEY_QUESTIONS,
    KEY_SIZE,
    QUESTION_LIMIT,
    Answer,
    ConnectionQuestion,
    ConnectionReply,
    Job,
    KnownQuestion,
    KnownReply,
    build_frame,
    parse_from_filter,
)
from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.questions import Questions, Services
from gatepost.model.finding import Analysis, EngineNote, ScanOptions

KEYS = tuple(bytes([number]) * KEY_SIZE for number in range(4))


class Clean:
    def __init__(self, *known: bytes) -> None:
        self.keys = set(known)

    def known(self, keys: Sequence[bytes]) -> bytes:
        return bytes(key in self.keys for key in keys)

    def add(self, keys: Iterable[bytes]) -> None:
        self.keys.update(keys)


class Connections:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.answer: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self.released: list[int] = []
        self.rested: list[int] = []

    async def connect(self, engine: str, holder: int) -> Connection:
        self.asked.append((engine, holder))
        return await self.answer

    def rest(self, holder: int, notes: Iterable[EngineNote]) -> None:
        self.rested.append(holder)

    def release(self, holder: int) -> None:
        self.released.append(holder)


Sent = list[tuple[bytes, socket.socket | None]]


def make(services: Services) -> tuple[Questions, Sent]:
    sent: Sent = []
    questions = Questions(7, services, lambda frame, passed: sent.append((frame, passed)))
    questions.begin(100, None)
    return questions, sent


def answer(cached: int = 0, clean: tuple[int, ...] = ()) -> Answer:
    return Answer("id", Analysis((), cached=cached), clean)


# --- the relay's end


def test_known_keys_are_told_and_new_ones_remembered() -> None:
    clean = Clean(KEYS[1])
    questions, sent = make(Services(clean))
    questions.take(KnownQuestion("id", 1, KEYS[:3]))
    assert sent == [(build_frame(KnownReply(1, b"\0\1\0")), None)]
    questions.settle(answer(cached=1, clean=(0,)))
    assert clean.keys == {KEYS[0], KEYS[1]}


def test_places_of_a_second_question_about_keys_go_on_counting() -> None:
    clean = Clean(KEYS[1])
    questions, sent = make(Services(clean))
    questions.take(KnownQuestion("id", 1, KEYS[:2]))
    questions.take(KnownQuestion("id", 2, KEYS[1:3]))
    assert sent == [
        (build_frame(KnownReply(1, b"\0\1")), None),
        (build_frame(KnownReply(2, b"\1\0")), None),
    ]
    questions.settle(answer(cached=2, clean=(0, 3)))
    assert clean.keys == {KEYS[0], KEYS[1], KEYS[2]}


def test_without_a_cache_nothing_is_known() -> None:
    questions, sent = make(Services())
    questions.take(KnownQuestion("id", 1, KEYS[:2]))
    assert sent == [(build_frame(KnownReply(1, b"\0\0")), None)]
    questions.settle(answer(clean=(0, 1)))


@pytest.mark.parametrize(
    "claim",
    [
        answer(cached=2),
        answer(cached=-1),
        answer(clean=(1,)),  # that one was known
        answer(clean=(2, 0)),
        answer(clean=(0, 0)),
        answer(clean=(-1,)),
        answer(clean=(3,)),
    ],
)
def test_claims_that_do_not_fit_the_question_are_hostile_and_nothing_is_remembered(claim: Answer) -> None:
    clean = Clean(KEYS[1])
    questions, _ = make(Services(clean))
    questions.take(KnownQuestion("id", 1, KEYS[:3]))
    with pytest.raises(HostileAnswer):
        questions.settle(claim)
    assert clean.keys == {KEYS[1]}


def test_claims_without_a_question_are_hostile() -> None:
    for claim in (answer(cached=1), answer(clean=(0,))):
        questions, _ = make(Services(Clean()))
        with pytest.raises(HostileAnswer):
            questions.settle(claim)


def test_claims_about_the_question_of_another_job_are_hostile() -> None:
    questions, _ = make(Services(Clean()))
    questions.take(KnownQuestion("id", 1, KEYS))
    questions.settle(answer())
    questions.begin(100, None)
    with pytest.raises(HostileAnswer):
        questions.settle(answer(clean=(0,)))


def test_questions_out_of_turn_are_hostile() -> None:
    for wrong in (KnownQuestion("id", 3, KEYS), KnownQuestion("id", 2, KEYS), ConnectionQuestion("id", 0, "e")):
        questions, _ = make(Services(Clean()))
        for number in range(1, KEY_QUESTIONS + 1):
            questions.take(KnownQuestion("id", number, KEYS))
        with pytest.raises(HostileAnswer):
            questions.take(wrong)


def test_too_many_questions_are_hostile() -> None:
    questions, sent = make(Services())
    for number in range(1, QUESTION_LIMIT + 1):
        questions.take(ConnectionQuestion("id", number, "e"))
    assert len(sent) == QUESTION_LIMIT
    with pytest.raises(HostileAnswer):
        questions.take(ConnectionQuestion("id", QUESTION_LIMIT + 1, "e"))


@pytest.mark.parametrize(
    "question",
    [
        KnownQuestion("id", 1, ()),
        KnownQuestion("id", 1, (b"short",)),
        KnownQuestion("id", 1, (bytes(KEY_SIZE),) * (KEY_LIMIT + 1)),
        ConnectionQuestion("id", 1, "e" * 2000),
    ],
)
def test_questions_over_their_limits_are_hostile(question: KnownQuestion | ConnectionQuestion) -> None:
    with pytest.raises(HostileAnswer):
        parse_from_filter(build_frame(question)[HEADER_SIZE:])


def test_a_connection_is_passed_on_and_given_back_with_the_filter() -> None:
    async def scenario() -> None:
        connections = Connections()
        questions, sent = make(Services(connections=connections))
        questions.take(ConnectionQuestion("id", 1, "clam"))
        with pytest.raises(HostileAnswer):  # one at a time
            questions.take(ConnectionQuestion("id", 2, "clam"))
        ours, theirs = socket.socketpair()
        connections.answer.set_result(Connection(ours, "v1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sent == [(build_frame(ConnectionReply(1, "v1")), ours)]
        assert ours.fileno() == -1  # it is the filter's now
        theirs.close()
        questions.settle(answer())
        questions.close()
        assert (connections.asked, connections.rested, connections.released) == ([("clam", 7)], [7], [7])

    asyncio.run(scenario())


def test_a_filter_that_answers_or_ends_meanwhile_gets_no_connection() -> None:
    async def scenario() -> None:
        for end in (lambda q: q.settle(answer()), Questions.close):
            connections = Connections()
            questions, sent = make(Services(connections=connections))
            questions.take(ConnectionQuestion("id", 1, "clam"))
            await asyncio.sleep(0)
            end(questions)
            await asyncio.sleep(0)
            assert connections.answer.cancelled()
            assert sent == []

    asyncio.run(scenario())


def test_a_fault_of_ours_is_told_like_any_other_reason() -> None:
    async def scenario() -> None:
        connections = Connections()
        questions, sent = make(Services(connections=connections))
        questions.take(ConnectionQuestion("id", 1, "clam"))
        connections.answer.set_exception(RuntimeError("bug"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sent == [(build_frame(ConnectionReply(1, reason="internal error: RuntimeError: bug")), None)]

    asyncio.run(scenario())


# --- the filter's end


class Relay:
    """The other end of an asker's socket: says what the test wants, when it is asked."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, *words: Job | KnownReply | ConnectionReply, passed: int = -1) -> None:
        frames = b"".join(map(build_frame, words))
        if passed < 0:
            self.sock.sendall(frames)
        else:
            socket.send_fds(self.sock, [frames], [passed])

    def hear(self) -> object:
        header = self.sock.recv(HEADER_SIZE, socket.MSG_WAITALL)
        return parse_from_filter(self.sock.recv(FRAME_HEADER.unpack(header)[0], socket.MSG_WAITALL))

    def when_asked(self, act: Callable[[object], None]) -> threading.Thread:
        thread = threading.Thread(target=lambda: act(self.hear()))
        thread.start()
        return thread


@pytest.fixture
def ends() -> Iterator[tuple[Asker, Relay]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    yield Asker(theirs, 20.0), Relay(ours)
    ours.close()
    theirs.close()


JOB = Job("id", 1, ScanOptions(), b"x")


def test_a_filter_learns_what_is_known(ends: tuple[Asker, Relay]) -> None:
    asker, relay = ends
    relay.send(JOB)
    assert asker.receive_job() == (JOB, -1)
    for _ in range(KEY_QUESTIONS):
        thread = relay.when_asked(lambda word: relay.send(KnownReply(word.number, b"\0\1")))  # type: ignore[attr-defined]
        assert asker.known(KEYS[:2]) == b"\0\1"
        thread.join()
    assert asker.known(KEYS[:2]) == b"\0\0"  # nobody is asked more often in a job
    asker.learn(0)
    assert asker.clean == [0]
    relay.send(JOB)
    asker.receive_job()
    assert asker.clean == []


def test_a_filter_gets_a_connection_or_the_reason(ends: tuple[Asker, Relay]) -> None:
    asker, relay = ends
    relay.send(JOB)
    asker.receive_job()
    inside, outside = socket.socketpair()
    thread = relay.when_asked(lambda word: relay.send(ConnectionReply(word.number, "v"), passed=inside.fileno()))  # type: ignore[attr-defined]
    got = asker.connect("clam")
    thread.join()
    assert got.sock is not None
    assert got.version == "v"
    got.sock.sendall(b"hello")
    assert outside.recv(5) == b"hello"
    thread = relay.when_asked(
        lambda word: relay.send(ConnectionReply(word.number, reason="down", wait=True))  # type: ignore[attr-defined]
    )
    assert asker.connect("clam") == Connection(None, reason="down", wait=True)
    thread.join()
    for sock in (inside, outside, got.sock):
        sock.close()


def test_a_late_reply_is_dropped_with_its_descriptor_and_jobs_go_on(ends: tuple[Asker, Relay]) -> None:
    asker, relay = ends
    relay.send(JOB)
    asker.receive_job()

    def strike(*_: object) -> None:
        if not asker.reading:
            raise Overrun

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with pytest.raises(Overrun):
            asker.connect("clam")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    read, write = os.pipe()
    content, rest = os.pipe()
    relay.send(ConnectionReply(1), passed=write)
    os.close(write)
    large = Job("large", 5, ScanOptions(), None)
    relay.send(large, passed=content)
    job, descriptor = asker.receive_job()
    assert job == large
    assert os.read(read, 1) == b""  # the late descriptor has been closed
    os.write(rest, b"x")
    assert os.read(descriptor, 1) == b"x"
    for number in (read, content, rest, descriptor):
        os.close(number)


def test_too_many_connections_are_not_even_asked_for(ends: tuple[Asker, Relay]) -> None:
    asker, relay = ends
    relay.send(JOB)
    asker.receive_job()
    for number in range(1, QUESTION_LIMIT + 1):
        relay.send(ConnectionReply(number, reason="down"))
        assert asker.connect("clam").reason == "down"
    assert asker.connect("clam").sock is None


def test_the_end_of_the_relay_and_of_patience(ends: tuple[Asker, Relay]) -> None:
    _, theirs = pair = socket.socketpair()
    with pytest.raises(Idle):
        Asker(theirs, 0.01).receive_job()
    for sock in pair:
        sock.close()
    asker, relay = ends
    relay.send(JOB)
    asker.receive_job()
    relay.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises((Gone, BrokenPipeError)):
        asker.known(KEYS)
    with pytest.raises(Gone):
        asker.receive_job()
