"""The UDS client against servers on the loopback: fail-over, loss, odd answers, and silence when it is off."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from tests.support.ports import free_port

from gatepost.config.load import load, load_text
from gatepost.config.schema import Config
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import Fingerprint, FingerprintKind, Method, NetworkFacts, Sign, SpamFacts
from gatepost.policy.group import GroupTable
from gatepost.relay.lookups import uds as uds_module
from gatepost.relay.lookups.base import NetworkNotes
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.lookups.uds import UdsConfigError, UdsLookup, build_uds, resolve_settings
from gatepost.relay.lookups.uds_client import UdsClient, UdsSettings
from gatepost.relay.lookups.uds_servers import ServerState
from gatepost.wire.uds import Answer, Known, Received, Report, State, UdsKey, UdsServerSession, Wish, build_key_line

KEY = UdsKey("alpha", b"\7" * 32, may_report=True)
VALUES = [number.to_bytes(8) for number in range(32)]
Decide = Callable[[Received], Answer | None]


def answer_ok(received: Received) -> Answer:
    return Answer(State.OK, received.question.time, (Known(3, 0, 0),) * len(received.question.values))


class Server(asyncio.DatagramProtocol):
    """Answers as `decide` says; None: not at all."""

    def __init__(self, decide: Decide = answer_ok) -> None:
        self.decide = decide
        self.questions: list[Received] = []
        self._session = UdsServerSession((KEY,), bytes(16))

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.name = "127.0.0.1:{}".format(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        received = self._session.receive(data, time.time())
        assert received is not None
        self.questions.append(received)
        answer = self.decide(received)
        if answer is not None:
            self._transport.sendto(self._session.answer(received, answer), addr)

    def asked(self, wish: Wish = Wish.ASK) -> int:
        return sum(each.question.wish is wish for each in self.questions)


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, level: str, text: str) -> None:
        self.lines.append(f"{level} {text}")


def client(*servers: str, timeout_s: float = 0.6) -> UdsClient:
    return UdsClient(UdsSettings(servers, KEY, timeout_s, 3600.0), Log())


def deadline(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(100):
            await test()

    asyncio.run(bounded())


def silent(received: Received) -> None:
    """Answer nothing."""


def test_the_answer_of_the_first_server_is_enough() -> None:
    async def test() -> None:
        async with Server() as first, Server() as second:
            asker = client(first.name, second.name)
            answer = await asker.ask(VALUES, deadline())
            assert answer is not None
            assert answer.known == (Known(3, 0, 0),) * 32
            assert (first.asked(), second.asked()) == (1, 0)
            asker.close()

    run(test)


@pytest.mark.feature("F-AS-20")
def test_a_dead_first_server_is_skipped() -> None:
    async def test() -> None:
        async with Server(silent) as dead, Server() as alive:
            asker = client(dead.name, alive.name)
            assert await asker.ask(VALUES, deadline()) is not None, "the next one answers"
            assert asker.servers.servers[0].state is ServerState.DEAD
            before = dead.asked()
            for _ in range(5):
                assert await asker.ask(VALUES, deadline()) is not None
            assert dead.asked() == before, "no mail waits for it again"
            assert alive.asked() == 6
            dead.decide = answer_ok
            await asker.probe(asker.servers.servers[0])
            assert asker.servers.servers[0].state is ServerState.UP, "a probe finds it again"
            asker.close()

    run(test)


@pytest.mark.feature("F-AS-20")
def test_round_trips_are_measured_and_the_fastest_is_asked() -> None:
    async def test() -> None:
        async with Server() as near, Server() as far:
            asker = client(far.name, near.name)

            def late(received: Received) -> None:
                answer = far._session.answer(received, Answer(State.OK, received.question.time))
                address = asker._connections[far.name]._transport.get_extra_info("sockname")
                asyncio.get_running_loop().call_later(0.15, far._transport.sendto, answer, address)

            far.decide = late
            for server in asker.servers.servers:
                await asker.probe(server)
            assert asker.servers.servers[0].rtt_s >= 0.15 > asker.servers.servers[1].rtt_s
            assert await asker.ask(VALUES, deadline()) is not None
            assert (near.asked(), far.asked()) == (1, 0)
            asker.close()

    run(test)


def test_probes_run_from_the_start() -> None:
    async def test() -> None:
        async with Server() as server:
            reported = asyncio.Event()
            asker = UdsClient(UdsSettings((server.name,), KEY, 5.0, 3600.0), lambda *_: reported.set())
            asker.start()
            await reported.wait()
            assert asker.servers.servers[0].state is ServerState.UP
            assert (server.asked(Wish.PROBE), server.asked()) == (1, 0)
            asker.close()

    run(test)


def test_a_lost_datagram_is_sent_again_and_kills_nobody() -> None:
    async def test() -> None:
        async with Server() as server:
            server.decide = lambda received: None if len(server.questions) == 1 else answer_ok(received)
            asker = client(server.name, timeout_s=5.0)
            assert await asker.ask(VALUES, deadline()) is not None
            assert server.asked() == 2
            asker.close()

    run(test)


def test_a_port_nobody_listens_on_is_known_at_once() -> None:
    async def test() -> None:
        async with Server() as alive:
            asker = client(f"127.0.0.1:{free_port()}", alive.name, timeout_s=60.0)
            assert await asker.ask(VALUES, deadline(60.0)) is not None
            assert "refused" in asker.servers.servers[0].reason
            asker.close()

    run(test)


@pytest.mark.parametrize(
    ("state", "reason"), [(State.STALE, "clock"), (State.REFUSED, "right"), (State.OK, "does not fit")]
)
def test_useless_answers_go_on_to_the_next_server_and_say_why(state: State, reason: str) -> None:
    async def test() -> None:
        async with Server(lambda _: Answer(state, 0.0)) as useless, Server() as alive:
            asker = client(useless.name, alive.name)
            assert await asker.ask(VALUES, deadline()) is not None
            assert reason in asker.servers.servers[0].reason
            asker.close()

    run(test)


def test_a_busy_server_is_passed_over_and_not_called_dead() -> None:
    async def test() -> None:
        async with Server(lambda _: Answer(State.BUSY, 0.0)) as busy, Server() as alive:
            asker = client(busy.name, alive.name)
            assert await asker.ask(VALUES, deadline()) is not None
            assert asker.servers.servers[0].state is not ServerState.DEAD
            asker.close()

    run(test)


def test_all_dead_is_a_trouble_and_no_wait() -> None:
    async def test() -> None:
        async with Server(silent) as one, Server(silent) as two:
            asker = client(one.name, two.name)
            spam = SpamFacts(fingerprints=(Fingerprint(FingerprintKind.TEXT, VALUES[0]),))
            query = UdsLookup(asker, lambda *_: None).begin(None)  # type: ignore[arg-type]
            assert query is not None
            notes = NetworkNotes()
            waiting = query.finish(spam, notes, deadline(2.0))
            assert waiting is not None
            await waiting
            assert notes.troubles == ["UDS: no server answered in time"]
            notes = NetworkNotes()
            assert query.finish(spam, notes, deadline()) is None, "nothing to wait for"
            assert notes.troubles == ["UDS: no server answers at the moment"]
            assert notes.signs == []
            asker.close()

    run(test)


def test_a_message_without_fingerprints_asks_nobody() -> None:
    async def test() -> None:
        async with Server() as server:
            asker = client(server.name)
            query = UdsLookup(asker, lambda *_: None).begin(None)  # type: ignore[arg-type]
            assert query is not None
            assert query.finish(SpamFacts(), NetworkNotes(), deadline()) is None
            assert server.questions == []
            asker.close()

    run(test)


def test_known_spam_is_a_sign() -> None:
    async def test() -> None:
        async with Server() as server:
            asker = client(server.name)
            spam = SpamFacts(fingerprints=tuple(Fingerprint(FingerprintKind.TEXT, value) for value in VALUES))
            query = UdsLookup(asker, lambda *_: None).begin(None)  # type: ignore[arg-type]
            assert query is not None
            notes = NetworkNotes()
            waiting = query.finish(spam, notes, deadline())
            assert waiting is not None
            await waiting
            assert notes.uds == "spam"
            assert [(each.method, each.name) for each in notes.signs] == [(Method.UDS, "uds-known")]
            assert UdsLookup(asker, lambda *_: None).status()["known"] == 1
            asker.close()

    run(test)


def test_reports_go_to_every_server_and_refusals_are_told() -> None:
    async def test() -> None:
        async with Server(lambda _: Answer(State.OK, 0.0)) as one, Server(refuse) as other:
            asker = client(one.name, other.name)
            told = await asker.tell(VALUES, Report.WANTED)
            assert told[one.name] == ""
            assert "right" in told[other.name]
            question = one.questions[0].question
            assert (question.wish, question.report, list(question.values)) == (Wish.REPORT, Report.WANTED, VALUES)
            asker.close()

    run(test)


def test_reports_of_certain_spam_are_bounded_and_their_trouble_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uds_module, "REPORTS_AN_HOUR", 2)

    async def test() -> None:
        async with Server(lambda _: Answer(State.OK, 0.0)) as one, Server(refuse) as other:
            log = Log()
            lookup = UdsLookup(client(one.name, other.name), log)
            prints = tuple(Fingerprint(FingerprintKind.TEXT, value) for value in VALUES)
            before = asyncio.all_tasks()
            lookup.tell_spam(())
            for _ in range(5):
                lookup.tell_spam(prints)
            await asyncio.gather(*(asyncio.all_tasks() - before))
            assert len(log.lines) == 2
            assert one.asked(Wish.REPORT) == 2
            question = one.questions[0].question
            assert (question.report, list(question.values)) == (Report.SPAM, VALUES)
            assert all(line.startswith(f"W UDS server {other.name} did not take") for line in log.lines)
            lookup.close()

    run(test)


@pytest.mark.parametrize(("wished", "certain"), [(True, True), (False, True), (True, False)])
def test_certain_spam_is_reported_where_that_is_wished(tmp_path: Path, wished: bool, certain: bool) -> None:
    (tmp_path / "key").write_text(build_key_line(KEY) + "\n")
    spam = SpamFacts(
        signs=tuple(
            Sign(method, "a-sign", "seen", 6.0 if certain else 2.0) for method in (Method.CONTENT, Method.HEADERS)
        ),
        fingerprints=tuple(Fingerprint(FingerprintKind.TEXT, value) for value in VALUES),
    )
    analysis = Analysis((), spam=spam, network=NetworkFacts())
    envelope = Envelope("s@example.net", (Recipient("a@example.org"),), Client("192.0.2.1"))

    async def test() -> None:
        async with Server(lambda _: Answer(State.OK, 0.0)) as server:
            config = load_text(
                '[network]\nhostname = "gw.example.org"\n[antispam]\nfilter_uds_enabled = true\n[uds]\n'
                f'server = ["{server.name}"]\nkey_file = "{tmp_path}/key"\n'
                f"report_certain_spam = {'true' if wished else 'false'}\n",
                "x.toml",
            ).config
            assert config is not None
            nobody: Any = None
            service = NetworkService(nobody, asyncio.get_running_loop().time, Log())
            service.configure(config)
            groups = GroupTable.from_config(config.groups, config.ave, 60.0, ("example.org",), config.antispam)
            before = asyncio.all_tasks()
            service.tell(envelope, [(groups.groups[-1], (0,))], analysis)
            await asyncio.gather(*(asyncio.all_tasks() - before))
            assert server.asked(Wish.REPORT) == (wished and certain)
            await service.close()

    run(test)


def refuse(received: Received) -> Answer:
    return Answer(State.REFUSED, received.question.time)


class TestConfiguration:
    @pytest.fixture
    def key_file(self, tmp_path: Path) -> Path:
        file = tmp_path / "key"
        file.write_text(build_key_line(KEY) + "\n")
        return file

    def config(self, tmp_path: Path, text: str) -> Config:
        file = tmp_path / "gatepost.toml"
        file.write_text(f'[network]\nhostname = "gw.example.org"\n{text}')
        loaded = load(file)
        assert loaded.config is not None, loaded.errors
        return loaded.config

    def on(self, tmp_path: Path, uds: str, antispam: str = "") -> Config:
        return self.config(tmp_path, f"[antispam]\nfilter_uds_enabled = true\n{antispam}\n[uds]\n{uds}\n")

    def test_without_consent_there_is_no_client(self, tmp_path: Path, key_file: Path) -> None:
        config = self.config(tmp_path, f'[uds]\nserver = ["127.0.0.1:1"]\nkey_file = "{key_file}"\n')
        assert build_uds(config, Log(), None) is None

    def test_servers_key_and_times_are_taken(self, tmp_path: Path, key_file: Path) -> None:
        listed = tmp_path / "uds.conf"
        listed.write_text("# ours\nc.example:7060  # far\n\n")
        config = self.on(
            tmp_path,
            f'server = ["a.example:7060", "[::1]:7061"]\nkey_file = "{key_file}"\nreporters = 3\nrtt_interval = "5 min"',
            f'filter_uds_timeout = "2 s"\nfilter_uds_cfg_file = "{listed}"',
        )
        wanted = UdsSettings(("a.example:7060", "[::1]:7061", "c.example:7060"), KEY, 2.0, 300.0, 3)
        assert resolve_settings(config) == wanted

    @pytest.mark.parametrize(
        ("uds", "what"),
        [
            ('key_file = "KEY"', "no server"),
            ('server = ["a.example"]\nkey_file = "KEY"', "not host:port"),
            ('server = ["a.example:0"]\nkey_file = "KEY"', "not host:port"),
            ('server = ["a.example:70600"]\nkey_file = "KEY"', "not host:port"),
            ('server = ["a.example:1"]', "key_file is not set"),
            ('server = ["a.example:1"]\nkey_file = "KEY-missing"', "No such file"),
            ('server = ["a.example:1"]\nkey_file = "EMPTY"', "0 keys"),
        ],
    )
    def test_what_cannot_work_is_said_and_mail_goes_on(
        self, tmp_path: Path, key_file: Path, uds: str, what: str
    ) -> None:
        (tmp_path / "empty").write_text("# nothing\n")
        config = self.on(tmp_path, uds.replace("KEY", str(key_file)).replace("EMPTY", str(tmp_path / "empty")))
        with pytest.raises(UdsConfigError, match=what):
            resolve_settings(config)
        log = Log()
        assert build_uds(config, log, None) is None
        assert what in log.lines[0]

    def test_a_reload_keeps_the_client_unless_something_changed(self, tmp_path: Path, key_file: Path) -> None:
        async def test() -> None:
            config = self.on(tmp_path, f'server = ["127.0.0.1:{free_port()}"]\nkey_file = "{key_file}"')
            first = build_uds(config, Log(), None)
            assert first is not None
            assert build_uds(config, Log(), first) is first
            changed = msgspec.structs.replace(config, uds=msgspec.structs.replace(config.uds, reporters=9))
            second = build_uds(changed, Log(), first)
            assert second is not None
            assert second is not first
            off = msgspec.structs.replace(
                config, antispam=msgspec.structs.replace(config.antispam, filter_uds_enabled=False)
            )
            assert build_uds(off, Log(), second) is None

        run(test)

    def test_the_check_of_a_configuration_tells_what_is_missing(self, tmp_path: Path) -> None:
        file = tmp_path / "gatepost.toml"
        file.write_text('[network]\nhostname = "gw.example.org"\n[antispam]\nfilter_uds_enabled = true\n')
        told = " ".join(str(problem) for problem in load(file).problems)
        assert "no server is named" in told
        assert "there is no key" in told
        file.write_text(file.read_text() + '[uds]\nserver = ["a.example:7060", "b.example"]\nkey_file = "k"\n')
        (told,) = [str(problem) for problem in load(file).problems if "[uds]" in str(problem)]
        assert "'b.example' is not host:port" in told
