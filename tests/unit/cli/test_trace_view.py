"""`gatepost trace` as a person sees it: every step has words, and nothing a stranger wrote can move the cursor."""

import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.tracking.support_tracking import NOON, Filled, mail_id, received

from gatepost.cli import trace_view
from gatepost.cli.trace import parse_moment
from gatepost.cli.trace_view import show_life, show_row, show_rows, show_span, show_waiting
from gatepost.model.finding import EngineNote, ObjectStatus
from gatepost.model.record import Answered, Generated, Notified, ObjectNote, Received, Record, Refused, SignNote
from gatepost.recorder.answers import Answers
from gatepost.recorder.masking import Masking
from gatepost.recorder.telling import tell_record

HOSTILE = 'x\x1b[2J\r\n\u202e"<b>&'


def hostile(kind: type[Any]) -> Record:
    """Return a record of a kind with hostile text wherever text is."""
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        values[field.name] = {
            str: HOSTILE,
            int: mail_id(0),
            float: NOON,
            bool: True,
            tuple[str, ...]: (HOSTILE,),
            tuple[EngineNote, ...]: (EngineNote(HOSTILE, HOSTILE, 1, 1.0, ObjectStatus.ERROR, HOSTILE),),
            tuple[ObjectNote, ...]: (ObjectNote(HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
            tuple[SignNote, ...]: (SignNote(HOSTILE, HOSTILE, 1.0, HOSTILE),),
            tuple[tuple[str, float], ...]: ((HOSTILE, 1.0),),
            tuple[tuple[str, str, str], ...]: ((HOSTILE, HOSTILE, HOSTILE),),
        }[hint]
    record: Record = kind(**values)
    return record


@pytest.mark.parametrize("kind", typing.get_args(Record), ids=lambda kind: kind.__name__)
def test_every_record_is_shown_and_foreign_text_is_harmless(tmp_path: Path, kind: type[Any]) -> None:
    filled = Filled(tmp_path)
    first = hostile(Received)
    about: dict[str, Any] = {}
    if kind in {Generated, Notified}:
        about = {"id": mail_id(1)}
    elif kind is Refused:
        about = {"id": mail_id(0)}
    record = msgspec.structs.replace(hostile(kind), **about)
    filled.add(first, record)
    filled.store.close()
    masking = Masking("full", "full", b"")
    answers = Answers(tmp_path, lambda: masking)
    told = answers.answer("tracking.mail", {"id": answers.answer("tracking.search", {})["mails"][-1]["id"]})
    assert tell_record(record)["type"] in [each["type"] for each in told["records"]]
    told = msgspec.json.decode(msgspec.json.encode(told))  # as it comes over the socket
    lines = list(show_life(told))
    assert all(line.isprintable() for line in lines), lines
    assert all(cell.isprintable() for cell in show_row(told["mail"]))
    assert tell_record(record)["type"] in trace_view._STEPS, "no words for it"


@pytest.mark.parametrize(
    ("answered", "outcome", "said"),
    [
        ({"deed": "deliver", "recipients": 1}, "passed", "who asked was told: deliver"),
        ({"deed": "deliver", "purpose": "ask"}, "told", "who asked was told what it is"),
        ({"deed": "reject", "purpose": "ask"}, "told", "who asked was told what it is"),
        ({"deed": "reject", "rejected": 1}, "refused", "who asked was told: reject"),
        ({"deed": "unjudged", "purpose": "ask"}, "unjudged", "who asked could not be told anything"),
    ],
)
def test_mail_of_another_mail_system_shows_who_asked_and_where_it_is_there(
    tmp_path: Path, answered: dict[str, Any], outcome: str, said: str
) -> None:
    filled = Filled(tmp_path)
    asked = received(0, ip="", door="rspamd", listener="postfix-2", reference="4AbCd", asker="192.0.2.77")
    filled.add(asked, Answered(mail_id(0), NOON + 1, elapsed_ms=3.0, **answered))
    filled.store.close()
    masking = Masking("full", "full", b"")
    answers = Answers(tmp_path, lambda: masking)
    for query in ({"message_id": "4abcd"}, {"client": "192.0.2.77"}):
        (found,) = answers.answer("tracking.search", query)["mails"]
    assert found["outcome"] == outcome
    lines = list(show_life(answers.answer("tracking.mail", {"id": found["id"]})))
    assert "  asked   at door postfix-2 (rspamd) by 192.0.2.77, its queue id 4AbCd" in lines
    assert any(line.endswith(f"{said}, after 3 ms") for line in lines), lines


@pytest.mark.parametrize(
    ("text", "moment"),
    [("90s", NOON - 90), ("2h", NOON - 7200), ("3d", NOON - 3 * 86_400), ("1w", NOON - 7 * 86_400)],
)
def test_spans_before_now(text: str, moment: float) -> None:
    assert parse_moment(text, NOON) == moment


def test_dates_and_what_is_none() -> None:
    assert parse_moment("2026-01-31 13:00", NOON) - parse_moment("2026-01-31", NOON) == 13 * 3600
    for text in ("", "yesterday", "2026-13-01", "1x"):
        with pytest.raises(ValueError, match="is no moment"):
            parse_moment(text, NOON)


def test_spans_are_said_as_people_do() -> None:
    assert [show_span(s) for s in (0.02, 5.0, 600, 9000, 400_000)] == ["20 ms", "5.0 s", "10 min", "2.5 h", "4.6 d"]


def test_a_list_is_a_line_a_mail_and_cuts_no_address() -> None:
    long = f"{'a' * 60}@sender.example"
    rows = [
        row_of(sender=long, recipients=["anna@example.org"], what="dsn-failed", subject=""),
        row_of(sender="", recipients=["lee@example.org"], what="", subject="Minutes"),
    ]
    head, first, second = show_rows(rows)
    assert head.split() == ["time", "queue", "id", "outcome", "from", "to", "subject"]
    assert f"<{long}>  <anna@example.org>" in first
    assert first.endswith("report: not delivered")
    assert second.endswith("<lee@example.org>   Minutes")
    assert len(second) < len(first)
    assert list(show_rows([])) == []


def row_of(**values: Any) -> dict[str, Any]:
    mail: dict[str, Any] = {"at": NOON, "id": "0AM1W8QNM0000", "outcome": "delivered", "spam": "", "statuses": []}
    return {**mail, "expected": 1, **values}


def test_what_waits_is_told_recipient_by_recipient() -> None:
    at_rest = {"address": "bill@late.example", "attempts": 0, "last_reply": "", "next_attempt": NOON + 60}
    full = {
        "address": HOSTILE,
        "attempts": 3,
        "last_reply": "452 full",
        "next_attempt": NOON - 1,
        "queue": "late.example",
    }
    message = {
        "queue_id": "0AM1W8QNM0000",
        "state": "QUE",
        "held_reason": "",
        "next_attempt": 0,
        "reason": "",
        "waiting": [
            {**at_rest, "next_hop": "mx.late.example", "paused": False, "destination_reason": "451 refused"},
            {**full, "next_hop": "", "paused": False, "destination_reason": ""},
            {**full, "next_hop": "", "paused": True, "destination_reason": ""},
        ],
    }
    lines = list(show_waiting([message], NOON))
    assert lines[0] == "now: in the queue as 0AM1W8QNM0000, waits for delivery"
    assert "<bill@late.example> by mx.late.example, 0 tries so far, next try " in lines[1]
    assert lines[2].strip() == "451 refused"
    assert lines[3].endswith("3 tries so far, due now")
    assert lines[5].endswith("paused; gatepost queue resume late.example ends that")
    assert lines[-1].endswith("gatepost queue retry|hold|release|reroute|remove 0AM1W8QNM0000")
    assert all(line.isprintable() for line in lines)
    nowhere = {**at_rest, "next_attempt": None, "next_hop": "", "paused": False, "destination_reason": ""}
    for state, held, said in (("HLD", "by anna", "held: by anna"), ("CHK", "", "in inspection: no filter: why")):
        asked = {**message, "state": state, "held_reason": held, "reason": "no filter: why", "next_attempt": None}
        lines = list(show_waiting([{**asked, "waiting": [nowhere]}], NOON))
        assert lines[:2] == [f"now: in the queue as 0AM1W8QNM0000, {said}", "  <bill@late.example>, 0 tries so far"]
    off = {**message, "reason": "delivery is switched off", "next_attempt": None, "waiting": [nowhere]}
    lines = list(show_waiting([off], NOON))
    assert lines[0].endswith("waits for delivery: delivery is switched off")
    assert lines[1].endswith("0 tries so far")
    damaged = {"queue_id": "0AM1W8QNM0000", "state": "corrupt", "reason": "bad page"}
    assert list(show_waiting([damaged], NOON)) == ["now: 0AM1W8QNM0000 cannot be read: bad page"]
