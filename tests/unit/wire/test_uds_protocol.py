"""The sealed datagrams of UDS: what gets through, and all that does not."""

import pytest

from gatepost.wire import uds
from gatepost.wire.uds import (
    ANSWER_BYTES,
    CLIENT_SESSIONS,
    QUESTION_BYTES,
    VALUES_LIMIT,
    WINDOW_S,
    Answer,
    KeysError,
    Known,
    Question,
    Report,
    State,
    UdsClientSession,
    UdsKey,
    UdsServerSession,
    Wish,
    build_key_line,
    parse_keys,
    usable_values,
)

NOW = 1_700_000_000.0
KEY = UdsKey("alpha", bytes(range(32)), may_report=True)
OTHER = UdsKey("beta", bytes(32))
VALUES = tuple(number.to_bytes(8) for number in range(1, 4))


def session_bytes(number: int = 1) -> bytes:
    return number.to_bytes(16)


def client(number: int = 1, key: UdsKey = KEY) -> UdsClientSession:
    return UdsClientSession(key, session_bytes(number))


def server(boot: int = 9) -> UdsServerSession:
    return UdsServerSession((KEY, OTHER), boot.to_bytes(16))


def ask(values: tuple[bytes, ...] = VALUES, at: float = NOW) -> Question:
    return Question(Wish.ASK, at, values)


def flipped(datagram: bytes, place: int) -> bytes:
    return datagram[:place] + bytes((datagram[place] ^ 1,)) + datagram[place + 1 :]


class TestExchange:
    def test_question_and_answer_arrive_as_they_were(self) -> None:
        asker, desk = client(), server()
        question = Question(Wish.REPORT, NOW, VALUES, Report.SPAM)
        number, datagram = asker.ask(question)
        received = desk.receive(datagram, NOW)
        assert received is not None
        assert (received.key, received.question, received.fresh) == (KEY, question, True)
        answer = Answer(State.OK, NOW + 1, (Known(1, 2, 3), Known(), Known(255, 0, 7)))
        assert asker.receive(desk.answer(received, answer)) == (number, answer)

    @pytest.mark.parametrize("count", [0, 1, VALUES_LIMIT])
    def test_size_tells_nothing_and_answers_are_smaller(self, count: int) -> None:
        asker, desk = client(), server()
        _, datagram = asker.ask(ask(tuple(number.to_bytes(8) for number in range(count))))
        assert len(datagram) == QUESTION_BYTES
        received = desk.receive(datagram, NOW)
        assert received is not None
        answer = desk.answer(received, Answer(State.OK, NOW, (Known(1, 1, 1),) * count))
        assert len(answer) == ANSWER_BYTES < QUESTION_BYTES <= 1232, "fits the least datagram of IPv6, no amplification"

    def test_nothing_of_the_values_or_names_is_to_be_seen(self) -> None:
        value = b"visible!"
        _, datagram = client().ask(ask((value,)))
        assert value not in datagram
        assert KEY.name.encode() not in datagram
        assert KEY.secret[:8] not in datagram

    def test_the_same_question_never_looks_the_same(self) -> None:
        asker = client()
        datagrams = [asker.ask(ask())[1] for _ in range(3)] + [client(2).ask(ask())[1]]
        assert len({datagram[-100:] for datagram in datagrams}) == 4

    @pytest.mark.parametrize("values", [(b"x" * 8,) * (VALUES_LIMIT + 1), (b"short",)])
    def test_values_that_do_not_fit_are_refused(self, values: tuple[bytes, ...]) -> None:
        with pytest.raises(ValueError, match="fit"):
            client().ask(ask(values))

    def test_usable_values_are_distinct_cut_and_bounded(self) -> None:
        many = [number.to_bytes(16) for number in range(100)] + [b"12345678-and-more", b"12345678"]
        assert usable_values(many) == (bytes(8), b"12345678")
        assert len(usable_values([number.to_bytes(8) for number in range(100)])) == VALUES_LIMIT


class TestServer:
    @pytest.mark.parametrize("place", [0, 2, 3, 4, 12, 28, 35, 36, 100, QUESTION_BYTES - 1])
    def test_a_changed_bit_anywhere_is_no_question(self, place: int) -> None:
        _, datagram = client().ask(ask())
        assert server().receive(flipped(datagram, place), NOW) is None

    @pytest.mark.parametrize("change", [-1, 1])
    def test_other_sizes_are_no_question(self, change: int) -> None:
        _, datagram = client().ask(ask())
        assert server().receive(datagram[:-1] if change < 0 else datagram + b"x", NOW) is None
        assert server().receive(b"", NOW) is None

    def test_a_client_it_does_not_know_gets_nothing(self) -> None:
        _, datagram = client(key=UdsKey("gamma", b"\5" * 32)).ask(ask())
        assert server().receive(datagram, NOW) is None

    def test_each_datagram_counts_once_even_out_of_order(self) -> None:
        asker, desk = client(), server()
        datagrams = [asker.ask(ask())[1] for _ in range(5)]
        order = [4, 0, 2, 1, 3]
        assert all(desk.receive(datagrams[place], NOW) is not None for place in order)
        assert all(desk.receive(datagrams[place], NOW) is None for place in order)

    def test_a_number_too_far_behind_is_not_taken(self) -> None:
        asker, desk = client(), server()
        datagrams = [asker.ask(ask())[1] for _ in range(1026)]
        assert desk.receive(datagrams[1025], NOW) is not None
        assert desk.receive(datagrams[2], NOW) is not None, "1023 behind"
        assert desk.receive(datagrams[1], NOW) is None, "1024 behind: nobody knows whether it came before"

    @pytest.mark.parametrize(
        ("off", "fresh"), [(0, True), (WINDOW_S, True), (WINDOW_S + 1, False), (-WINDOW_S - 1, False)]
    )
    def test_time_stamps_outside_the_window_are_stale(self, off: float, fresh: bool) -> None:
        received = server().receive(client().ask(ask(at=NOW + off))[1], NOW)
        assert received is not None
        assert received.fresh is fresh

    def test_sessions_of_a_client_are_bounded_and_go_when_old(self) -> None:
        desk = server()
        for number in range(CLIENT_SESSIONS):
            assert desk.receive(client(number + 1).ask(ask())[1], NOW) is not None
        assert desk.sessions == CLIENT_SESSIONS
        assert desk.receive(client(5000).ask(ask())[1], NOW) is None, "full, and none is old enough to go"
        assert desk.receive(client(1, OTHER).ask(ask())[1], NOW) is not None, "another client does not suffer"
        later = NOW + 2 * WINDOW_S + 1
        assert desk.receive(client(5001).ask(ask(at=later))[1], later) is not None
        assert desk.sessions == 1

    def test_an_old_session_cannot_be_played_again_after_it_is_forgotten(self) -> None:
        desk = server()
        _, ahead = client().ask(ask(at=NOW + WINDOW_S))
        assert desk.receive(ahead, NOW) is not None
        for moment in range(int(NOW), int(NOW + 3 * WINDOW_S), 10):
            desk.sweep(moment)
            again = desk.receive(ahead, moment)
            assert again is None or not again.fresh

    def test_keys_taken_away_end_their_sessions(self) -> None:
        asker, desk = client(), server()
        assert desk.receive(asker.ask(ask())[1], NOW) is not None
        desk.configure((OTHER,))
        assert desk.sessions == 0
        assert desk.receive(asker.ask(ask())[1], NOW) is None

    def test_two_starts_seal_with_two_keys(self) -> None:
        asker = client()
        _, datagram = asker.ask(ask())
        answers = []
        for boot in (1, 2):
            desk = server(boot)
            received = desk.receive(datagram, NOW)
            assert received is not None
            answers.append(desk.answer(received, Answer(State.OK, NOW, (Known(),) * 3)))
        assert answers[0][28:-16] != answers[1][28:-16], "the same number under the same key would give texts away"


class TestAnswers:
    def answered(self, asker: UdsClientSession, desk: UdsServerSession, known: int = 3) -> bytes:
        received = desk.receive(asker.ask(ask())[1], NOW)
        assert received is not None
        return desk.answer(received, Answer(State.OK, NOW, (Known(1),) * known))

    def test_an_answer_is_taken_once(self) -> None:
        asker = client()
        answer = self.answered(asker, server())
        assert asker.receive(answer) is not None
        assert asker.receive(answer) is None

    @pytest.mark.parametrize("place", [0, 2, 3, 5, 20, 28, 60, ANSWER_BYTES - 1])
    def test_a_changed_bit_anywhere_is_no_answer(self, place: int) -> None:
        asker = client()
        assert asker.receive(flipped(self.answered(asker, server()), place)) is None

    def test_an_answer_for_another_session_is_none(self) -> None:
        answer = self.answered(client(1), server())
        other = client(2)
        other.ask(ask())
        assert other.receive(answer) is None

    def test_an_answer_that_does_not_fit_its_question_is_none(self) -> None:
        asker = client()
        assert asker.receive(self.answered(asker, server(), known=2)) is None

    def test_a_forgotten_question_has_no_answer(self) -> None:
        asker, desk = client(), server()
        number, datagram = asker.ask(ask())
        received = desk.receive(datagram, NOW)
        assert received is not None
        asker.forget(number)
        assert asker.receive(desk.answer(received, Answer(State.OK, NOW))) is None

    def test_pending_questions_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uds, "PENDING_LIMIT", 2)
        asker, desk = client(), server()
        datagrams = [asker.ask(ask())[1] for _ in range(3)]
        answers = []
        for datagram in datagrams:
            received = desk.receive(datagram, NOW)
            assert received is not None
            answers.append(desk.answer(received, Answer(State.OK, NOW, (Known(),) * 3)))
        assert [asker.receive(answer) is not None for answer in answers] == [False, True, True]


class TestKeys:
    def test_a_line_comes_back(self) -> None:
        text = f"# clients\n\n{build_key_line(KEY)}  # the first\n{build_key_line(OTHER)}\n"
        assert parse_keys(text) == (KEY, OTHER)

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("alpha ask", "line 1"),
            ("alpha admin c2VjcmV0", "line 1"),
            ("alpha ask c2VjcmV0", "32 bytes"),
            ("alpha ask !!!!", "32 bytes"),
            (f"{'n' * 65} ask {build_key_line(KEY).split()[2]}", "64"),
            (f"{build_key_line(KEY)}\n{build_key_line(KEY)}", "line 2.*twice"),
        ],
    )
    def test_what_is_wrong_is_said_without_the_secret(self, text: str, what: str) -> None:
        with pytest.raises(KeysError, match=what) as caught:
            parse_keys(text)
        assert "c2VjcmV0" not in str(caught.value)
        assert build_key_line(KEY).split()[2] not in str(caught.value)
