"""Mailboxes read message by message; figures of rated messages."""

from pathlib import Path

import pytest
from tests.support.gateway import run_here

from gatepost.cli.spam_mails import MESSAGE_LIMIT, iterate_mails
from gatepost.cli.spam_test import Rated, area_above, describe_quality, read_index
from gatepost.config.default import build_default_config


def test_a_mailbox_is_read_message_by_message(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.write_bytes(
        b"From a@b Mon\nSubject: 1\n\n>From the start\nFrom here it is text\n\nFrom c@d Tue\nSubject: 2\n\nbody\n"
    )
    assert [content for _, content in iterate_mails([box])] == [
        b"Subject: 1\n\nFrom the start\nFrom here it is text\n\n",
        b"Subject: 2\n\nbody\n",
    ]
    assert [name for name, _ in iterate_mails([box])] == [f"{box}#1", f"{box}#2"]


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.eml").write_bytes(b"From: x\n\nb")
    (tmp_path / "a.eml").write_bytes(b"From x Mon\nFrom: x\n\na")
    (tmp_path / ".hidden").write_bytes(b"no")
    assert [content for _, content in iterate_mails([tmp_path])] == [b"From: x\n\na", b"From: x\n\nb"]


def test_a_huge_file_is_cut(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as stream:
        stream.truncate(MESSAGE_LIMIT + 10)
    ((_, content),) = iterate_mails([tmp_path / "big"])
    assert len(content) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("spam", "ham", "expected"),
    [([90, 80], [10, 20], 0.0), ([10], [90], 100.0), ([50], [50], 50.0), ([90, 10], [50, 50], 50.0)],
)
def test_area_above(spam: list[int], ham: list[int], expected: float) -> None:
    assert area_above(spam, ham) == pytest.approx(expected)


def test_quality_counts_by_status() -> None:
    def rated(status: str, rate: int) -> Rated:
        return Rated("x", status, rate, (), 1.0)

    rows = [
        (True, rated("spam", 95)), (True, rated("probable_spam", 70)), (True, rated("not_detected", 3)),
        (False, rated("not_detected", 2)), (False, rated("blacklisted", 100)),
    ]  # fmt: skip
    figures = describe_quality(rows)
    assert figures["called Spam"] == figures["or Probable"] == "1"
    assert (figures["missed"], figures["not even Probable"]) == ("2", "1")


def test_an_index_with_another_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "i.tsv").write_text("id\tlabel\nm\tspam\nn\tunsure\n")
    with pytest.raises(ValueError, match="line 3"):
        read_index(tmp_path / "i.tsv")


def test_messages_are_rated_for_somebody_of_ours_when_nobody_is_named(tmp_path: Path) -> None:
    config = tmp_path / "gatepost.toml"
    config.write_text(build_default_config(state_path=str(tmp_path / "gw"), protected_domains=("*.example.org",)))
    (tmp_path / "a.eml").write_bytes(b"From: a@b.example\nSubject: x\n\nhello\n")
    done = run_here("spam", "test", str(tmp_path / "a.eml"), "-c", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 not_detected" in done.stdout
    other = run_here("spam", "test", str(tmp_path / "a.eml"), "--to", "x@elsewhere.example", "-c", str(config))
    assert other.returncode == 3
    assert "x@elsewhere.example does not check for spam" in other.stderr
