"""The AV record: eight fields, to a file or a listener, and what is lost costs nobody anything."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.waiting import join, wait_for

from gatepost.model.record import Received, Record, Refused, Scanned, Split
from gatepost.recorder import av_record, envelopes
from gatepost.recorder.av_record import AvRecord, Gathering, TcpTarget, parse_target
from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.view import Batch

AT = 1_800_000_000.7


def received(number: int = 1, addresses: tuple[str, ...] = ("r@example.org", "s@example.org")) -> Received:
    return Received(number, AT, "a@example.net", 2, 321, "192.0.2.7", "h", "<m@example.net>", "E", addresses=addresses)


def scanned(number: int = 1, source: int = 0, statuses: tuple[str, ...] = ("infected", "clean")) -> Scanned:
    return Scanned(number, AT, "g", 2, statuses, source or number, ("EICAR-Test", "b"))


def batch(*records: Record, first: int = 1) -> Batch:
    return Batch("outbox", 0, first, records)


def lines_of(*batches: Batch) -> list[list[str]]:
    gathering = Gathering()
    for each in batches:
        gathering.take(each)
    return [line.removesuffix("\n").split("\t") for line in gathering.lines()]


def settings(target: str) -> RecorderSettings:
    return RecorderSettings(directory="", socket="", questions="", av_statistics=target)


class Said(list[tuple[str, str]]):
    def __call__(self, level: str, text: str) -> None:
        self.append((level, text))


def test_a_line_has_eight_fields():
    assert lines_of(batch(received()), batch(scanned())) == [
        [
            "2027-01-15T08:00:00Z",
            "321",
            "a@example.net",
            "r@example.org,s@example.org",
            "infected,clean",
            "EICAR-Test,b",
            "192.0.2.7",
            "<m@example.net>",
        ]
    ]


def test_each_copy_has_a_line_of_its_own_with_its_recipients():
    split = Split(8, AT, "example.org", 1, 1, "g", ("s@example.org",))
    found = lines_of(batch(received()), batch(split, scanned(8, source=1), scanned(9, source=1)))
    assert [line[3] for line in found] == ["s@example.org", "r@example.org,s@example.org"]
    assert [line[1] for line in found] == ["321", "321"]


def test_mail_refused_before_the_queue_is_told_by_its_refusal():
    refused = Refused(AT, "192.0.2.9", "data", "content", 550, "x@example.net", "", id=1, size=55)
    assert lines_of(batch(scanned(), refused))[0][1:4] == ["55", "x@example.net", ""]


def test_mail_that_was_not_scanned_has_no_line_and_unknown_mail_an_empty_envelope():
    assert lines_of(batch(received(), scanned(statuses=("not_checked",)))) == []
    assert lines_of(batch(scanned(5))) == [
        ["2027-01-15T08:00:00Z", "0", "", "", "infected,clean", "EICAR-Test,b", "", ""]
    ]


@pytest.mark.parametrize("hostile", ["a\tb", "a\nb", "a\r\nb", "a\x00b\u2028", "\ud800"])
def test_no_text_of_strangers_makes_fields_or_lines(hostile: str):
    record = Received(1, AT, hostile, 1, 3, "192.0.2.7", "h", hostile, "E", addresses=(hostile,))
    gathering = Gathering()
    gathering.take(batch(record, Scanned(1, AT, "g", 1, ("infected",), 1, (hostile,))))
    (line,) = gathering.lines()
    assert line.count("\t") == 7
    assert line.splitlines() == [line.removesuffix("\n")]


def test_fields_and_memory_are_bounded(monkeypatch: pytest.MonkeyPatch):
    many = tuple(f"{number}@example.org" for number in range(5000))
    (line,) = lines_of(batch(received(addresses=many), scanned()))
    assert len(line[3]) == av_record.FIELD_LIMIT
    monkeypatch.setattr(envelopes, "MAILS_LIMIT", 3)
    found = lines_of(batch(*[received(number) for number in range(1, 6)]), batch(*[scanned(n) for n in range(1, 6)]))
    assert [line[2] for line in found] == ["", "", "a@example.net", "a@example.net", "a@example.net"]


def test_lines_are_added_to_a_file_and_a_rotated_one_is_opened_anew(tmp_path: Path):
    path = tmp_path / "stat" / "av.log"
    said = Said()
    view = AvRecord(said)
    view.configure(settings(str(path)))
    view.consume(batch(received(), scanned()))
    view.flush()
    path.rename(path.with_suffix(".1"))
    view.configure(settings(str(path)))
    view.consume(batch(received(2), scanned(2)))
    view.flush()
    path.rename(path.with_suffix(".2"))
    view.consume(batch(received(3), scanned(3)))
    view.flush()
    path.unlink()
    view.consume(batch(received(4), scanned(4)))
    view.close()
    for suffix in (".1", ".2"):
        assert len(path.with_suffix(suffix).read_text().splitlines()) == 1
    assert len(path.read_text().splitlines()) == 1
    assert (view.lost, said) == (0, [])


def test_a_file_that_cannot_be_opened_loses_lines_says_so_once_and_is_tried_again(tmp_path: Path):
    path = tmp_path / "av.log"
    path.mkdir()
    said = Said()
    view = AvRecord(said, clock=lambda: 0.0)
    view.configure(settings(str(path)))
    for number in range(1, 4):
        view.consume(batch(received(number), scanned(number)))
        view.flush()
    assert view.lost == 3
    assert [level for level, _ in said] == ["W"]
    path.rmdir()
    view.consume(batch(received(4), scanned(4)))
    view.close()
    assert len(path.read_text().splitlines()) == 1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def test_a_listener_gets_lines_also_after_it_has_closed_a_connection(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(av_record, "PAUSE_S", 0.0)
    view = AvRecord(Said())
    view.configure(settings(f"127.0.0.1:{listener.getsockname()[1]}"))
    view.consume(batch(received(), scanned()))
    view.flush()
    first, _ = listener.accept()
    with first:
        assert first.makefile().readline().count("\t") == 7
    view.consume(batch(received(2), scanned(2)))
    view.flush()
    second, _ = listener.accept()
    with second:
        assert second.makefile().readline().count("\t") == 7
        view.close()
    assert view.lost == 0


def test_without_a_listener_lines_are_lost_and_counted(listener: socket.socket):
    port = listener.getsockname()[1]
    listener.close()
    said = Said()
    view = AvRecord(said)
    view.configure(settings(f"tcp:127.0.0.1:{port}"))
    view.consume(batch(received(), scanned(), scanned(2)))
    view.flush()
    wait_for(lambda: view.lost == 2, "the lines to be counted as lost")
    assert ("refused" in said[0][1], "2 line(s) lost" in said[0][1]) == (True, True)
    view.close()


def test_a_listener_that_takes_nothing_costs_a_bounded_number_of_lines(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(av_record, "CONNECT_S", 0.05)
    monkeypatch.setattr(av_record, "END_S", 0.0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the kernel may take a parcel for it
    lost: list[int] = []
    target = TcpTarget("127.0.0.1", listener.getsockname()[1], lambda lines, _: lost.append(lines))
    parcel = ["x" * 8 * 1024 * 1024 + "\n"]
    for _ in range(2 * av_record.PARCELS_LIMIT):
        target.write(parcel)
    wait_for(lambda: sum(lost) >= av_record.PARCELS_LIMIT, "lines to be lost")
    target.close()
    join(target._thread)
    assert sum(lost) == 2 * av_record.PARCELS_LIMIT


def test_a_listener_that_is_given_up_keeps_no_thread_and_what_waited_is_counted(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
):
    """Without room for the word that ends it, the thread of each target that was ever replaced stayed."""
    monkeypatch.setattr(av_record, "END_S", 0.0)
    lost: list[int] = []
    target = TcpTarget("127.0.0.1", listener.getsockname()[1], lambda lines, _: lost.append(lines))
    parcel = ["x" * 8 * 1024 * 1024 + "\n"]
    for _ in range(2 * av_record.PARCELS_LIMIT):
        target.write(parcel)
    assert sum(lost) >= av_record.PARCELS_LIMIT - 1
    target.close()
    listener.close()
    join(target._thread)
    assert sum(lost) == 2 * av_record.PARCELS_LIMIT


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("tcp:stat.example:5000", ("stat.example", 5000)),
        ("[::1]:5000", ("::1", 5000)),
        ("/var/log/av:5000", None),
        ("relative/av.log", None),
        ("host:0", None),
        ("host:70000", None),
    ],
)
def test_targets(text: str, target: tuple[str, int] | None):
    assert parse_target(text) == target
