"""The statistics log and the user log of anti-spam: a line for each verdict, whatever strangers write."""

from pathlib import Path

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Received, Record, SpamChecked, Split
from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.spam_logs import SpamLogs
from gatepost.recorder.view import Batch

AT = 1_800_000_000.7
STAMP = "2027-01-15T08:00:00Z"
TO = ("ann@example.org", "bob@example.org")


def received(number: int, sender: str = "a@example.net") -> Received:
    return Received(number, AT, sender, 2, 321, "192.0.2.7", "h", "<m@example.net>", "E", addresses=TO)


def checked(number: int, source: int, group: str, status: str, recipients: int = 2) -> SpamChecked:
    return SpamChecked(
        number, AT, group, recipients, status, 90, ("headers", "terms"), source, withheld=False, action="deliver"
    )


def written(tmp_path: Path, *records: Record) -> tuple[list[list[str]], list[list[str]]]:
    """Return the fields of the lines of both files."""
    logs = SpamLogs(lambda *_: None)
    files = tmp_path / "log/statistics", tmp_path / "log/users"
    logs.configure(
        RecorderSettings(directory="", socket="", questions="", spam_statistics=str(files[0]), spam_users=str(files[1]))
    )
    logs.consume(Batch("outbox", 0, 1, records))
    logs.close()
    first, second = ([line.split("\t") for line in file.read_text().splitlines()] for file in files)
    return first, second


def test_a_mail_has_one_line_and_each_recipient_one(tmp_path: Path) -> None:
    statistics, users = written(tmp_path, received(1), checked(1, 1, "policy", "spam"))
    number = format_queue_id(1)
    assert statistics == [
        [STAMP, number, "321", "192.0.2.7", "a@example.net", "2", "policy", "spam", "90", "headers,terms", "deliver"]
    ]
    assert users == [[STAMP, number, each, "policy", "spam", "90", "deliver"] for each in TO]


def test_each_group_has_its_own_verdict_and_recipients(tmp_path: Path) -> None:
    copies = [
        Split(number, AT, "example.org", 1, 1, group, (to,))
        for number, group, to in ((2, "sales", TO[0]), (3, "staff", TO[1]))
    ]
    verdicts = checked(2, 1, "sales", "spam", 1), checked(3, 1, "staff", "trusted", 1)
    statistics, users = written(tmp_path, received(1), *verdicts, *copies)
    assert [(line[5], line[6], line[7]) for line in statistics] == [("1", "sales", "spam"), ("1", "staff", "trusted")]
    assert [(line[2], line[3]) for line in users] == [(TO[0], "sales"), (TO[1], "staff")]


def test_what_strangers_write_stays_in_its_field(tmp_path: Path) -> None:
    statistics, _ = written(tmp_path, received(1, "a\tb\r\nc@example.net"), checked(1, 1, "policy", "spam"))
    (line,) = statistics
    assert line[4] == "a?b??c@example.net"


def test_a_file_that_cannot_be_written_is_told_once_and_a_rotated_one_is_made_anew(tmp_path: Path) -> None:
    said: list[str] = []
    logs = SpamLogs(lambda _, text: said.append(text))
    path = tmp_path / "log"
    path.mkdir()
    settings = RecorderSettings(directory="", socket="", questions="", spam_statistics=str(path))
    logs.configure(settings)
    for number in (1, 2):
        logs.consume(Batch("outbox", 0, number, (received(number), checked(number, number, "policy", "spam"))))
        logs.flush()
    assert [text.endswith("lines are lost, mail goes on") for text in said] == [True]
    path.rmdir()
    for number in (3, 4):
        logs.consume(Batch("outbox", 0, number, (received(number), checked(number, number, "policy", "spam"))))
        logs.flush()
        assert len(path.read_text().splitlines()) == 1
        path.unlink()


def test_without_files_nothing_is_kept(tmp_path: Path) -> None:
    logs = SpamLogs(lambda *_: None)
    logs.configure(RecorderSettings(directory="", socket="", questions=""))
    logs.consume(Batch("outbox", 0, 1, (received(1), checked(1, 1, "policy", "spam"))))
    assert not logs._checked
    assert not logs._envelopes._mails
