"""The UDS server without its sockets: rights, limits, what it keeps and for how long."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.service import uds_desk, uds_reports
from gatepost.service.uds_bursts import WINDOW_S as BURST_WINDOW_S
from gatepost.service.uds_bursts import BurstTable
from gatepost.service.uds_desk import Allowance, UdsDesk
from gatepost.service.uds_reports import KEEP_S, ReportStore, StateError
from gatepost.wire.uds import Answer, Known, Question, Report, State, UdsClientSession, UdsKey, Wish

NOW = 1_700_000_000.0
GATEWAYS = tuple(UdsKey(f"gateway-{number}", bytes((number,)) * 32, may_report=True) for number in range(1, 5))
READER = UdsKey("reader", b"\xee" * 32)
VALUES = tuple(number.to_bytes(8) for number in (8, 9, 2**63 + 1))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReportStore]:
    opened = ReportStore(tmp_path / "reports")
    yield opened
    opened.close()


class Talk:
    """A desk and its clients."""

    def __init__(
        self, store: ReportStore, keys: tuple[UdsKey, ...] = (*GATEWAYS, READER), started: float = NOW
    ) -> None:
        self.desk = UdsDesk(keys, store, bytes(16), started)
        self._sessions = {key.name: UdsClientSession(key, bytes(16)) for key in (*GATEWAYS, READER)}

    def say(self, key: UdsKey, question: Question, now: float = NOW) -> Answer:
        session = self._sessions[key.name]
        number, datagram = session.ask(question)
        raw = self.desk.take(datagram, now)
        assert raw is not None
        received = session.receive(raw)
        assert received is not None
        assert received[0] == number
        return received[1]

    def report(self, key: UdsKey, report: Report = Report.SPAM, now: float = NOW) -> State:
        return self.say(key, Question(Wish.REPORT, now, VALUES, report), now).state

    def ask(self, now: float = NOW, key: UdsKey = READER) -> list[tuple[int, int]]:
        return [(each.spam, each.wanted) for each in self.say(key, Question(Wish.ASK, now, VALUES), now).known]


class TestReports:
    def test_distinct_gateways_are_counted_and_each_once(self, store: ReportStore) -> None:
        talk = Talk(store)
        assert talk.ask() == [(0, 0)] * 3
        for key in (GATEWAYS[0], GATEWAYS[0], GATEWAYS[1]):
            assert talk.report(key) is State.OK
        assert talk.ask() == [(2, 0)] * 3

    def test_the_last_word_of_a_gateway_holds(self, store: ReportStore) -> None:
        talk = Talk(store)
        talk.report(GATEWAYS[0])
        talk.report(GATEWAYS[1], Report.WANTED)
        assert talk.ask() == [(1, 1)] * 3
        talk.report(GATEWAYS[0], Report.WANTED)
        assert talk.ask() == [(0, 2)] * 3
        talk.report(GATEWAYS[0], Report.WITHDRAWN)
        talk.report(GATEWAYS[1], Report.WITHDRAWN)
        assert talk.ask() == [(0, 0)] * 3
        assert store.entries == 0

    def test_who_may_only_ask_cannot_report(self, store: ReportStore) -> None:
        talk = Talk(store)
        assert talk.report(READER) is State.REFUSED
        assert talk.ask() == [(0, 0)] * 3

    def test_a_report_made_before_the_start_might_be_played_again(self, store: ReportStore) -> None:
        talk = Talk(store, started=NOW)
        early = Question(Wish.REPORT, NOW - 10, VALUES, Report.SPAM)
        assert talk.say(GATEWAYS[0], early, NOW + 1).state is State.STALE
        assert talk.ask() == [(0, 0)] * 3

    def test_a_stale_question_is_told_so(self, store: ReportStore) -> None:
        talk = Talk(store)
        answer = talk.say(READER, Question(Wish.ASK, NOW - 4000, VALUES))
        assert (answer.state, answer.known, answer.time) == (State.STALE, (), NOW)

    def test_reports_end_after_their_time(self, store: ReportStore) -> None:
        talk = Talk(store)
        talk.report(GATEWAYS[0])
        talk.report(GATEWAYS[1], now=NOW + 100)
        talk.desk.sweep(NOW + KEEP_S + 50)
        assert talk.ask(NOW + 101) == [(1, 0)] * 3
        talk.desk.sweep(NOW + KEEP_S + 150)
        assert store.entries == 0

    def test_they_survive_a_restart(self, tmp_path: Path) -> None:
        first = ReportStore(tmp_path / "reports")
        Talk(first).report(GATEWAYS[0])
        first.close()
        again = ReportStore(tmp_path / "reports")
        assert Talk(again).ask() == [(1, 0)] * 3
        again.close()

    def test_a_gateway_without_a_key_loses_its_reports(self, store: ReportStore) -> None:
        talk = Talk(store)
        for key in GATEWAYS[:3]:
            talk.report(key)
        assert talk.desk.configure((*GATEWAYS[:2], READER)) == 1
        assert talk.ask() == [(2, 0)] * 3

    def test_a_state_of_another_version_or_none_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "odd").write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
        with pytest.raises(StateError):
            ReportStore(tmp_path / "odd")


class TestLimits:
    def test_a_client_that_asks_too_much_is_busy_and_others_are_not(
        self, store: ReportStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uds_desk, "ASK_BURST", 2.0)
        monkeypatch.setattr(uds_desk, "ASK_RATE", 1.0)
        talk = Talk(store)
        question = Question(Wish.ASK, NOW, VALUES)
        states = [talk.say(READER, question).state for _ in range(3)]
        assert states == [State.OK, State.OK, State.BUSY]
        assert talk.say(GATEWAYS[0], question).state is State.OK
        assert talk.say(READER, question, NOW + 1).state is State.OK

    def test_one_gateway_cannot_fill_the_database(self, store: ReportStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uds_reports, "CLIENT_ENTRIES_LIMIT", len(VALUES))
        talk = Talk(store)
        assert talk.report(GATEWAYS[0]) is State.OK
        more = Question(Wish.REPORT, NOW, (b"another!",), Report.SPAM)
        assert talk.say(GATEWAYS[0], more).state is State.BUSY
        assert talk.say(GATEWAYS[1], more).state is State.OK
        monkeypatch.setattr(uds_reports, "ENTRIES_LIMIT", store.entries)
        assert talk.report(GATEWAYS[2]) is State.BUSY

    def test_noise_gets_no_answer_and_is_counted(self, store: ReportStore) -> None:
        desk = Talk(store).desk
        assert [desk.take(noise, NOW) for noise in (b"", b"x" * 448, b"GU\1\1" + b"x" * 444)] == [None] * 3
        assert desk.status(NOW)["strange"] == 3

    def test_an_allowance_flows_in_up_to_its_burst(self) -> None:
        allowance = Allowance(rate=2.0, burst=3.0)
        assert [allowance.take(100.0) for _ in range(4)] == [True, True, True, False]
        assert [allowance.take(100.5) for _ in range(2)] == [True, False]
        assert [allowance.take(99.0)] == [False], "a clock set back gives nothing"


class TestBursts:
    VALUE = (8).to_bytes(8)

    def test_distinct_gateways_within_the_window(self) -> None:
        table = BurstTable()
        assert [table.count(self.VALUE, gateway, NOW) for gateway in (0, 1, 1, 5)] == [1, 2, 2, 3]

    def test_the_window_ends(self) -> None:
        table = BurstTable()
        table.count(self.VALUE, 0, NOW)
        assert table.count(self.VALUE, 1, NOW + BURST_WINDOW_S + 1) == 1

    def test_another_value_in_the_slot_waits_for_its_window(self) -> None:
        table, other = BurstTable(), (16).to_bytes(8)
        table.count(self.VALUE, 0, NOW)
        assert table.count(other, 1, NOW) == 0, "never too many"
        assert table.count(other, 1, NOW + BURST_WINDOW_S + 1) == 1

    def test_only_a_sample_of_the_values_is_counted(self) -> None:
        table = BurstTable()
        assert table.count((9).to_bytes(8), 0, NOW) == 0

    def test_the_desk_tells_it(self, store: ReportStore) -> None:
        talk = Talk(store)
        for key in GATEWAYS:
            answer = talk.say(key, Question(Wish.ASK, NOW, (self.VALUE,)))
        assert answer.known == (Known(0, 0, 4),)


def test_status_names_the_clients(store: ReportStore) -> None:
    talk = Talk(store)
    talk.report(GATEWAYS[0])
    talk.report(READER)
    talk.ask()
    clients = {each["name"]: each for each in talk.desk.status(NOW + 5)["clients"]}  # type: ignore[attr-defined]
    assert clients["gateway-1"]["entries"] == 3
    assert (clients["reader"]["ask"], clients["reader"]["refused"], clients["reader"]["last_s"]) == (1, 1, 5.0)
    assert clients["gateway-2"]["last_s"] is None
