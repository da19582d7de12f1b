"""Log lines: what comes from outside cannot make a second line, in records and in process events alike."""

import pytest

from gatepost.control.lines import EVENT_LIMIT, Formatter
from gatepost.model.record import Held, Received

FORMATTER = Formatter("%Y-%m-%d", "%H:%M:%S")


@pytest.mark.parametrize(
    "control", ["\n", "\r", "\x00", "\x1b[2J", "\x85", "\u2028", "\ud800", "\u202e", "\u2067", "\u200f"]
)
def test_process_event_is_one_printable_line(control: str) -> None:
    line = FORMATTER.event(0.0, "E", f"inspection failed: {control}[2026-01-01 00:00:00 A]: forged")
    assert control not in line[:-1]
    assert line.endswith("]: forged\n")
    assert len(line.splitlines()) == 1
    line.encode("utf-8")


def test_process_event_keeps_quotes_and_is_bounded() -> None:
    assert '"x"' in FORMATTER.event(0.0, "W", 'say "x"')
    assert len(FORMATTER.event(0.0, "W", "x" * 10 * EVENT_LIMIT)) < EVENT_LIMIT + 100


@pytest.mark.parametrize("text", ["a\nb", 'a"b', "a\x1bb", "a\ud800b", "a\u202eb"])
def test_record_is_one_line_whatever_it_quotes(text: str) -> None:
    for record in (Held(1, 0.0, text), Received(1, 0.0, text, 1, 1, "::1", text, text, "")):
        _, line = FORMATTER.record(record, 0)
        assert len(line.splitlines()) == 1
        assert text not in line
        line.encode("utf-8")
