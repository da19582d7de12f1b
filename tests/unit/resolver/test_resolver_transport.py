"""What servers and forgers do on the wire, with real sockets: nothing but a fitting answer counts, and dead servers are left."""

import asyncio
import time
from typing import Any, cast

import pytest
from resolver_bench import LEAST_TIMEOUT_S, Bench, build_config
from tests.support.dns import FORGED_ADDRESS, StubDns, Trouble

from gatepost.resolver import inquiry
from gatepost.resolver import resolver as resolving
from gatepost.resolver.answers import Answer, Kind, Outcome
from gatepost.resolver.inquiry import REST_S, plan_attempts
from gatepost.resolver.resolver import Resolver
from gatepost.resolver.transport import PORT_QUESTIONS, PORTS, STRAYS_LIMIT, Entropy


def ask(bench: Bench, name: str = "a.example") -> Answer[str]:
    async def scenario(resolver: Resolver) -> Answer[str]:
        return await resolver.ask(name, Kind.A)

    return bench.run(scenario)


def test_a_truncated_answer_is_fetched_over_tcp(bench: Bench, dns: StubDns) -> None:
    addresses = tuple(f"192.0.2.{n}" for n in range(1, 120))
    dns.add("a.example", "A", *addresses)
    assert len(ask(bench).values) == 100
    over = [q.over for q in dns.questions]
    assert over == ["udp", "tcp"] * (len(over) // 2)  # a slow machine asks again
    assert all(q.edns for q in dns.questions)


def test_an_answer_cut_short_over_tcp_too_is_a_failure_and_no_empty_answer(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.trouble("a.example", Trouble.TRUNCATED_TWICE)
    assert ask(bench).outcome is Outcome.FAILED


def test_an_answer_with_another_id_is_ignored(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.trouble("a.example", Trouble.WRONG_ID)
    assert ask(bench).values == ("192.0.2.1",)
    assert dns.count() == 1


@pytest.mark.parametrize("trouble", [Trouble.WRONG_QUESTION, Trouble.GARBAGE])
def test_what_does_not_fit_the_question_is_never_believed(bench: Bench, dns: StubDns, trouble: Trouble) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.trouble("a.example", trouble)
    answer = ask(bench)
    assert (answer.outcome, answer.values) == (Outcome.FAILED, ())
    assert FORGED_ADDRESS not in answer.values


def test_after_a_misfit_the_question_goes_over_tcp(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.trouble("a.example", Trouble.WRONG_QUESTION, times=1)
    assert ask(bench).values == ("192.0.2.1",)
    assert [q.over for q in dns.questions] == ["udp", "tcp"]


def test_names_go_out_in_random_case_until_a_server_folds_them(bench: Bench, dns: StubDns) -> None:
    long = "abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.example"
    dns.add(long, "A", "192.0.2.1")
    dns.add(f"b.{long}", "A", "192.0.2.2")
    dns.trouble(long, Trouble.FOLDED, times=1)

    async def scenario(resolver: Resolver) -> None:
        assert (await resolver.ask(long, Kind.A)).values == ("192.0.2.1",)
        assert (await resolver.ask(f"b.{long}", Kind.A)).values == ("192.0.2.2",)

    bench.run(scenario)
    spelled = [(q.over, q.raw_name.rstrip(".")) for q in dns.questions]
    assert spelled[0][1] != long
    assert spelled[0][1].lower() == long
    assert spelled[1:] == [("tcp", long), ("udp", f"b.{long}")]


def test_ports_change(bench: Bench, dns: StubDns) -> None:
    for number in range(PORT_QUESTIONS * PORTS + 1):
        dns.add(f"h{number}.example", "A", "192.0.2.1")
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=15)  # fifty at once

    async def scenario(resolver: Resolver) -> None:
        for start in range(0, PORT_QUESTIONS * PORTS + 1, 50):
            names = [f"h{n}.example" for n in range(start, min(start + 50, PORT_QUESTIONS * PORTS + 1))]
            assert all(answer.found for answer in await asyncio.gather(*(resolver.ask(n, Kind.A) for n in names)))

    bench.run(scenario)
    assert len({q.source_port for q in dns.questions}) > PORTS


def test_a_server_without_edns_is_asked_without(bench: Bench, dns: StubDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    dns.trouble("a.example", Trouble.FORMERR)
    assert ask(bench).values == ("192.0.2.1",)
    assert [q.edns for q in dns.questions] == [True, False]


@pytest.mark.parametrize(
    "trouble", [Trouble.SERVFAIL, Trouble.REFUSED, Trouble.SILENT, Trouble.GARBAGE, Trouble.TRUNCATED_SILENT]
)
def test_the_next_server_is_asked(bench: Bench, dns: StubDns, trouble: Trouble) -> None:
    dns.trouble("*", trouble)
    with StubDns() as second:
        second.add("a.example", "A", "192.0.2.1")
        bench.config = build_config(name_servers=[dns.address, second.address], io_network_timeout=6)
        assert ask(bench).values == ("192.0.2.1",)
    assert dns.count() >= 1


def test_a_dead_server_is_left_at_once_and_later_asked_last(bench: Bench, dns: StubDns) -> None:
    with StubDns() as gone:
        address = gone.address
    for number in range(10):
        dns.add(f"h{number}.example", "A", "192.0.2.1")
    bench.config = build_config(name_servers=[address, dns.address], io_network_timeout=30)

    async def scenario(resolver: Resolver) -> None:
        for number in range(10):
            assert (await resolver.ask(f"h{number}.example", Kind.A)).found

    bench.run(scenario)
    assert dns.count() == 10


def test_a_silent_server_is_asked_last_after_three_silences(bench: Bench, dns: StubDns) -> None:
    dns.trouble("*", Trouble.SILENT)
    with StubDns() as second:
        for number in range(8):
            second.add(f"h{number}.example", "A", "192.0.2.1")
        bench.config = build_config(name_servers=[dns.address, second.address], io_network_timeout=6)

        async def scenario(resolver: Resolver) -> None:
            for number in range(8):
                assert (await resolver.ask(f"h{number}.example", Kind.A)).found

        bench.run(scenario)
    assert dns.count() == 3
    assert REST_S > 1


def test_no_server_at_all_is_a_failure(bench: Bench) -> None:
    with StubDns() as gone:
        address = gone.address
    bench.config = build_config(name_servers=[address])
    answer = ask(bench)
    assert answer.outcome is Outcome.FAILED
    assert address in answer.reason


def test_guessed_ids_send_the_question_over_tcp() -> None:
    """A forger who guesses ids at the right port is met with TCP before he has had many tries."""

    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()
        ways: list[str] = []

        class Forger(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast("asyncio.DatagramTransport", transport)

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                ways.append("udp")
                for guess in range(STRAYS_LIMIT + 1):
                    number = (int.from_bytes(data[:2]) + 1 + guess) & 0xFFFF
                    self.transport.sendto(number.to_bytes(2) + b"\x81\x80" + data[4:], addr)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ways.append("tcp")
            size = int.from_bytes(await reader.readexactly(2))
            query = await reader.readexactly(size)
            answer = query[:2] + b"\x81\x83" + query[4:]
            writer.write(len(answer).to_bytes(2) + answer)
            await writer.drain()
            writer.close()

        stream = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = stream.sockets[0].getsockname()[1]
        datagrams, _ = await loop.create_datagram_endpoint(Forger, ("127.0.0.1", port))
        resolver = Resolver(build_config(name_servers=[f"127.0.0.1:{port}"], io_network_timeout=5))
        try:
            assert (await resolver.ask("a.example", Kind.A)).outcome is Outcome.NO_NAME
        finally:
            await resolver.close()
            datagrams.close()
            stream.close()
            await stream.wait_closed()
        return ways

    assert asyncio.run(asyncio.wait_for(scenario(), 100)) == ["udp", "tcp"]


@pytest.mark.parametrize("servers", [1, 2, 8])
@pytest.mark.parametrize("total_s", [1.0, 30.0, 1200.0])
def test_all_attempts_fit_into_the_time(servers: int, total_s: float) -> None:
    attempts = plan_attempts(list(range(servers)), total_s)
    assert sum(wait_s for _, wait_s in attempts) <= total_s + 1e-9
    assert [number for number, _ in attempts[:servers]] == list(range(servers))
    assert all(0 < wait_s <= 8 for _, wait_s in attempts)


def test_random_numbers_use_all_their_bits() -> None:
    entropy = Entropy()
    seen = 0
    for _ in range(5000):
        number = entropy.take(2)
        assert 0 <= number < 65536
        seen |= number
    assert seen == 0xFFFF


def ask_each(*names: str, tended: int = 0) -> Any:
    async def scenario(resolver: Resolver) -> list[tuple[bool, bool]]:
        """Return for each name whether it was found, and whether the servers count as silent after it; look after them
        behind the first `tended` names.
        """
        told = []
        for number, name in enumerate(names):
            answer = await resolver.ask(name, Kind.A)
            if number < tended:
                await resolver.look_for_silence()
            told.append((answer.found, resolver.silence is not None))
        return told

    return scenario


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "SILENCE_S", 0.0)


@pytest.mark.usefixtures("soon")
def test_while_all_are_silent_a_question_costs_one_packet_and_a_brief_wait(bench: Bench, dns: StubDns) -> None:
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=LEAST_TIMEOUT_S)
    dns.trouble("*", Trouble.SILENT)
    assert bench.run(ask_each("a.example", "b.example", "c.example", tended=1)) == [(False, True)] * 3
    assert [dns.count(name) for name in ("a.example", "b.example", "c.example")] == [3, 1, 1]


@pytest.mark.usefixtures("soon")
def test_the_first_answer_ends_the_silence(bench: Bench, dns: StubDns) -> None:
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=LEAST_TIMEOUT_S)
    for name in ("a.example", "c.example", inquiry.PROBE_NAME):
        dns.trouble(name, Trouble.SILENT)
    dns.add("b.example", "A", "192.0.2.1")
    scenario = ask_each("a.example", "b.example", "c.example", tended=1)
    assert bench.run(scenario) == [(False, True), (True, False), (False, False)]
    assert [dns.count(name) for name in ("a.example", "b.example", "c.example")] == [3, 1, 3]


@pytest.mark.usefixtures("soon")
def test_names_nobody_answers_for_are_no_silence_of_the_servers(bench: Bench, dns: StubDns) -> None:
    """A server that recurses for us waits itself for the dead servers of these domains, longer than we wait for it."""
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=LEAST_TIMEOUT_S)
    names = [f"dead{number}.example" for number in range(3)]
    for name in names:
        dns.trouble(name, Trouble.SILENT)
    assert bench.run(ask_each(*names, tended=3)) == [(False, False)] * 3
    assert [dns.count(name) for name in names] == [3] * 3
    assert dns.count(inquiry.PROBE_NAME) == 3


@pytest.mark.usefixtures("soon")
def test_one_that_answers_is_no_silence(bench: Bench, dns: StubDns) -> None:
    dns.trouble("*", Trouble.SILENT)
    names = [f"h{number}.example" for number in range(5)]
    with StubDns() as second:
        for name in names:
            second.add(name, "A", "192.0.2.1")
        bench.config = build_config(name_servers=[dns.address, second.address], io_network_timeout=6)
        assert bench.run(ask_each(*names, tended=5)) == [(True, False)] * 5


@pytest.mark.usefixtures("soon")
def test_a_server_that_is_back_is_found_without_a_question_of_mail(
    bench: Bench, dns: StubDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "TEND_S", 0.01)
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=LEAST_TIMEOUT_S)
    dns.trouble("*", Trouble.SILENT)

    async def scenario(resolver: Resolver) -> tuple[float, tuple[str, ...]]:
        before = time.time()
        await resolver.ask("a.example", Kind.A)
        tending = asyncio.create_task(resolver.tend())
        while (silence := resolver.silence) is None:  # noqa: ASYNC110 - nor of its beginning
            await asyncio.sleep(0.01)
        dns.heal("*")
        while resolver.silence is not None:  # noqa: ASYNC110 - it has no event to tell of its end
            await asyncio.sleep(0.01)
        tending.cancel()
        return silence.since - before, silence.servers

    since, servers = bench.run(scenario)
    assert 0 <= since < 120
    assert [each.rpartition(": ")[2] for each in servers] == ["no answer in time"]


def test_a_moments_silence_is_none_yet(bench: Bench, dns: StubDns) -> None:
    bench.config = build_config(name_servers=[dns.address], io_network_timeout=LEAST_TIMEOUT_S)
    dns.trouble("*", Trouble.SILENT)
    assert bench.run(ask_each("a.example", tended=1)) == [(False, False)]
    assert inquiry.SILENCE_S > 2 * LEAST_TIMEOUT_S
