"""Pages of mail around a scripted gateway: whatever strangers write is shown as text, acts ask and say what came of
them, and what mail holds stands in a frame that can do nothing.
"""

import html.parser
import re
import time
from typing import Any

import pytest
from tests.support.scripted_console import ScriptedGateway, visit

from gatepost.console.life import tell_life
from gatepost.console.pages.preview import POLICY
from gatepost.control.rights import RIGHTS_OF, Role
from gatepost.control.socket import ControlError

NOW = time.time()
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'`{{7*7}}\r\nSet-Cookie: a=b\x00\x1b[31m\u202etxt.exe"
EVIL_DOMAIN = EVIL.partition("\r")[0]
ID = "0ABCDEFGHJKMN"
ITEM = f"{ID}-0A1B2C"
CLIENT = {"ip": EVIL, "port": 1, "helo": EVIL, "esmtp": True, "listener": EVIL, "name": EVIL, "tls": EVIL, "user": EVIL}
STORED: dict[str, Any] = {
    "id": ITEM, "store": "quarantine", "queue_id": ID, "source": ID, "saved_at": NOW, "received_at": NOW, "size": 10,
    "code": "INF", "group": EVIL, "statuses": ["infected", EVIL], "object_count": 1, "reason": EVIL, "rate": 50,
    "objects": [{"name": EVIL, "status": EVIL, "threat": EVIL, "action": EVIL}], "methods": [EVIL], "blocked": True,
    "kind": EVIL, "subject": EVIL, "author": EVIL, "message_id": EVIL, "sender": EVIL, "recipients": [EVIL],
    "recipient_count": 1, "direction": "inbound", "client": CLIENT, "unsafe": True, "releasing": False,
    "released": True, "may_release": True,
    "events": [
        {"what": "stored", "at": NOW, "recipients": []},
        {"what": "released", "at": NOW, "who": EVIL, "recipients": [EVIL], "queue_id": ID, "checked": False},
    ],
}  # fmt: skip
ROW = {
    "number": 1, "id": ITEM, "store": "spam-quarantine", "saved_at": NOW, "received_at": NOW, "code": "SPM", "size": 5,
    "state": "stored", "sender": EVIL, "recipients": [EVIL, EVIL], "recipient_count": 2, "client": EVIL, "group": EVIL,
    "subject": EVIL, "threats": EVIL, "rate": 99, "event": None,
}  # fmt: skip
PLACES = [
    {"kind": kind, "configured": kind != "outgoing", "items": 3, "bytes": 15, "keep_days": 1, "keep_bytes": 0}
    for kind in ("spam-quarantine", "quarantine", "backup", "incoming", "outgoing")
]
QUEUED = {
    "id": 5, "queue_id": ID, "state": "HLD", "size": 5, "received_at": NOW, "client": EVIL, "sender": EVIL,
    "recipients": [EVIL], "recipient_count": 1, "next_attempt": NOW, "attempts": 2, "reason": EVIL,
}  # fmt: skip
MESSAGE = QUEUED | {
    "shard": "s", "copy_of": "", "kind": EVIL, "group": EVIL, "edits": 0, "size_to_send": 6, "content_in_file": False,
    "route": EVIL, "strikes": 0, "held_reason": EVIL, "direction": EVIL, "body": "", "ret": "", "envid": "",
    "client_facts": CLIENT, "recipients": [], "settled_recipients": 1,
    "waiting": [
        {"address": EVIL, "notify": [], "orcpt": "", "queue": EVIL, "attempts": 1, "last_reply": EVIL, "next_hop": EVIL,
         "next_attempt": NOW, "paused": False, "destination_rests_until": 0.0, "destination_failures": 1,
         "destination_reason": EVIL},
    ],
}  # fmt: skip
SUMMARY = {
    "bytes": 5, "destination_count": 1, "states": {"WFC": 0, "HLD": 2}, "reasons": {EVIL: 1}, "held": {EVIL: 2},
    "destinations": [
        {"domain": EVIL_DOMAIN, "waiting": 3, "paused": True, "rests_until": NOW, "failures": 2, "reason": EVIL}
    ],
}  # fmt: skip
MAIL = {
    "id": ID, "at": NOW, "kind": "", "what": "", "sender": EVIL, "recipients": [EVIL, EVIL], "expected": 2, "size": 5,
    "ip": EVIL, "helo": EVIL, "client": EVIL, "tls": EVIL, "user": EVIL, "listener": EVIL, "direction": EVIL,
    "message_id": EVIL, "subject": EVIL, "groups": [EVIL], "statuses": [EVIL], "spam": "probable_spam", "rate": 70,
    "threats": [EVIL], "findings": [EVIL], "hops": [EVIL], "stored": [EVIL], "outcome": "quarantined", "last": NOW,
    "source": "", "delay_s": 0.1, "waited_ms": 1.0, "elapsed_ms": 2.0,
}  # fmt: skip
RECORDS: list[dict[str, Any]] = [
    {"type": "received", "id": ID, "at": NOW, "sender": EVIL, "recipients": 1, "size": 5, "ip": EVIL, "helo": EVIL,
     "message_id": EVIL, "flags": "E", "addresses": [EVIL], "client": EVIL, "tls": EVIL, "user": EVIL},
    {"type": "inspected", "id": ID, "at": NOW, "subject": EVIL, "waited_ms": 1.0, "elapsed_ms": 2.0,
     "stages": [["filter", 1.5]], "objects": 2, "findings": [EVIL], "troubles": [EVIL],
     "notable": [{"name": EVIL, "kind": EVIL, "size": 1, "status": EVIL, "threat": EVIL, "evidence": EVIL}]},
    {"type": "scanned", "id": ID, "at": NOW, "group": EVIL, "recipients": 1, "statuses": ["infected"], "names": [EVIL],
     "reason": EVIL, "actions": [[EVIL, EVIL, EVIL]],
     "engines": [{"name": EVIL, "version": EVIL, "status": EVIL, "elapsed_ms": 1.0, "trouble": EVIL}]},
    {"type": "spam-checked", "id": ID, "at": NOW, "group": EVIL, "recipients": 1, "status": "spam", "rate": 99,
     "methods": [EVIL], "reason": EVIL,
     "notes": [{"method": EVIL, "name": EVIL, "weight": 2.5, "evidence": EVIL}]},
    {"type": "deferred", "id": ID, "at": NOW, "recipient": EVIL, "server": EVIL, "reply": EVIL, "due": NOW},
    {"type": "delivered", "id": ID, "at": NOW, "recipient": EVIL, "server": EVIL, "size": 1, "sent": True,
     "reply": EVIL},
    {"type": "saved", "id": ID, "at": NOW, "store": "quarantine", "item": ITEM, "statuses": [EVIL]},
    {"type": "refused", "at": NOW, "ip": EVIL, "stage": "rcpt", "cause": EVIL, "code": 550, "reply": EVIL},
    {"type": "removed", "id": ID, "at": NOW, "reason": EVIL},
    {"type": EVIL, "id": ID, "at": NOW, "what": EVIL},
]  # fmt: skip
SHOWN: dict[str, Any] = {
    "fields": [["Subject", EVIL], [EVIL, EVIL]], "html": "<b>hello</b><script>alert(1)</script>", "text": EVIL,
    "source": EVIL, "links": [EVIL], "remote": 2, "cut": True, "trouble": EVIL, "scanned": True,
    "parts": [{"name": EVIL, "content_type": EVIL, "size": 5, "found": EVIL, "shown": False, "nested": True}],
    "objects": [{"name": EVIL, "status": EVIL, "threat": EVIL, "action": EVIL}],
}  # fmt: skip
LIFE = {"mail": MAIL, "records": RECORDS, "cut": True, "related": [MAIL]}
ANSWERS: dict[str, Any] = {
    "stores.places": PLACES,
    "stores.list": {"rows": [ROW], "cursor": '{"0":1}', "totals": {"items": 1, "bytes": 5}},
    "stores.show": STORED,
    "stores.of": [STORED],
    "stores.preview": SHOWN,
    "queue.preview": SHOWN,
    "queue": {"items": [QUEUED, {"id": 6, "queue_id": ID, "state": "corrupt", "reason": EVIL}], "upto": 6, "seen": 2,
              "ended": False},
    "summary": SUMMARY,
    "show": MESSAGE,
    "tracking.search": {"mails": [MAIL], "cursor": ID, "back_until": NOW},
    "tracking.mail": LIFE,
    "learning.status": {"spam": 3, "ham": 4, "trust": 0.5, "journal": 7, "recent": 5, "recent_disagreed": 2,
                        "teachers": {EVIL_DOMAIN: 2}, "domains": [EVIL]},
    "learning.recent": [{"at": NOW, "spam": True, "who": EVIL, "source": EVIL, "domain": EVIL, "opinion": -0.5}],
    "learning.undo": 3,
}  # fmt: skip
PAGES = (
    "/quarantine", "/quarantine?store=quarantine&text=x&since=2026-01-01&until=2026-12-31&rate=50", f"/quarantine/{ITEM}",
    f"/quarantine/{ITEM}/preview", "/queue", "/queue?state=HLD&older=4h", f"/queue/{ID}", f"/queue/{ID}/preview",
    "/tracking", "/tracking?q=x&since=2026-01-01&finding=y", f"/tracking/{ID}",
)  # fmt: skip
FRAMES = tuple(
    f"{place}/frame?view={view}"
    for place in (f"/quarantine/{ITEM}", f"/queue/{ID}")
    for view in ("html", "text", "source")
)


class _Elements(html.parser.HTMLParser):
    """What a browser would make of a page: its elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def gateway(role: Role = Role.ADMIN, /, **answers: Any) -> ScriptedGateway:
    domains = ("example.org",) if role is Role.DOMAIN else ()
    return ScriptedGateway({**ANSWERS, **answers}, RIGHTS_OF[role], domains)


def assert_text_only(text: str) -> None:
    """What strangers wrote has made no element, no attribute and no control character of its own."""
    for tag, attributes in _Elements(text).found:
        assert tag != "script" or str(attributes.get("src", "")).startswith("/static/"), attributes
        assert tag != "img"
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"href", "src", "action"}:
                assert value is not None
                assert value.startswith(("/", "#")), value
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text.replace("\r\n", "\n").replace("\t", " "))
    assert "49" not in re.findall(r"onerror=alert\(1\)&gt;[^<]{0,4}(49)", text)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("fragment", [False, True])
def test_what_strangers_write_is_text_on_every_page(path: str, fragment: bool) -> None:
    answer = visit(gateway(), path, fragment=fragment)
    assert answer.status_code == 200, answer.text[:2000]
    assert "set-cookie" not in {name.lower() for name in answer.headers if name.lower() == "a"}
    assert_text_only(answer.text)


@pytest.mark.parametrize("path", FRAMES)
def test_a_frame_can_do_nothing_and_shows_strangers_text_as_text(path: str) -> None:
    answer = visit(gateway(), path)
    assert answer.status_code == 200, answer.text[:2000]
    assert answer.headers["content-security-policy"] == POLICY
    assert "sandbox" in POLICY.split("; ")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    tags = {tag for tag, _ in _Elements(answer.text).found}
    assert not tags & {"script", "iframe", "form", "object", "embed", "link", "base", "img"}
    assert ("<b>hello</b>" in answer.text) == path.endswith("view=html")


def test_a_page_frames_the_message_without_any_right() -> None:
    text = visit(gateway(), f"/quarantine/{ITEM}/preview").text
    (frame,) = [attributes for tag, attributes in _Elements(text).found if tag == "iframe"]
    assert frame["sandbox"] in {None, ""}
    assert frame["src"] == f"/quarantine/{ITEM}/frame?view=html"


def test_what_a_filter_says_is_not_believed() -> None:
    lie = SHOWN | {
        "html": '<p>x</p><meta http-equiv=refresh content="0;url=https://e.example"><a href="//e.example">y</a>'
    }
    text = visit(gateway(**{"stores.preview": lie}), f"/quarantine/{ITEM}/frame").text
    assert "http-equiv" not in text
    assert "href" not in text


def test_the_original_is_a_file_and_nothing_else() -> None:
    pieces = {0: {"data": "QUJD", "name": f'{ITEM}"\r\n.eml', "size": 6, "next": 3}, 3: {"data": "REVG", "next": None}}
    answer = visit(
        gateway(**{"stores.export": lambda given: pieces[given.get("offset", 0)]}), f"/quarantine/{ITEM}/original"
    )
    assert answer.content == b"ABCDEF"
    assert answer.headers["content-disposition"] == f'attachment; filename="{ITEM}.eml"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        (Role.READ_ONLY, f"/quarantine/{ITEM}/frame", 403),
        (Role.READ_ONLY, f"/quarantine/{ITEM}/original", 403),
        (Role.READ_ONLY, f"/queue/{ID}/frame", 403),
        (Role.READ_ONLY, "/quarantine", 200),
        (Role.DOMAIN, f"/quarantine/{ITEM}", 200),
        (Role.DOMAIN, f"/tracking/{ID}", 200),
        (Role.QUARANTINE, f"/quarantine/{ITEM}/preview", 200),
    ],
)
def test_who_may_look_at_what(role: Role, path: str, status: int) -> None:
    assert visit(gateway(role), path).status_code == status


def test_nobody_sees_anything_who_has_not_signed_in() -> None:
    for path in (*PAGES, *FRAMES, f"/quarantine/{ITEM}/original", "/tracking/file.csv", "/tracking/file.json"):
        asked = gateway()
        assert visit(asked, path, signed_in=False).status_code == 401, path
        assert not [name for name, _ in asked.asked if name != "session.state"]


def test_a_page_offers_only_what_the_visitor_may_do() -> None:
    text = visit(gateway(Role.READ_ONLY), f"/tracking/{ID}").text
    assert 'action="/queue/act"' not in text
    assert 'action="/quarantine/act"' not in text
    text = visit(gateway(Role.DOMAIN), f"/quarantine/{ITEM}").text
    assert "Release without checks" not in text
    assert "It is spam" not in text
    assert "Block its sender" in text
    text = visit(gateway(**{"stores.show": STORED | {"may_release": False}}), f"/quarantine/{ITEM}").text
    assert 'value="release"' not in text


def test_deleting_asks_first_and_says_what_came_of_it() -> None:
    outcomes = {ITEM: {"deleted": True}, "other": {"refused": "no such stored message"}}
    scripted = gateway(**{"stores.delete": outcomes})
    form = {"act": "delete", "id": [ITEM, "other"], "back": "/quarantine?store=backup"}
    asked = visit(scripted, "/quarantine/act", data=form)
    assert "Delete 2 message(s) for good?" in asked.text
    assert not scripted.asked
    assert asked.text.count('name="id"') == 2
    done = visit(scripted, "/quarantine/act", data=form | {"confirmed": "1"})
    assert done.status_code == 303
    assert done.headers["location"] == "/quarantine?store=backup"
    assert scripted.asked[-1] == ("stores.delete", {"items": [ITEM, "other"]})


def test_releasing_malware_is_asked_twice() -> None:
    def release(given: dict[str, Any]) -> dict[str, Any]:
        if not given["sure"]:
            return {ITEM: {"refused": f"{ITEM} may do harm (infected): confirm that it is to be released"}}
        return {ITEM: {"queue_id": ID}}

    scripted = gateway(**{"stores.release": release})
    form = {"act": "release", "id": ITEM, "back": "/quarantine"}
    assert "Release 1 message(s)" in visit(scripted, "/quarantine/act", data=form).text
    second = visit(scripted, "/quarantine/act", data=form | {"confirmed": "1"})
    assert "may do harm" in second.text
    assert 'name="sure" value="1"' in second.text
    third = visit(scripted, "/quarantine/act", data=form | {"confirmed": "1", "sure": "1"})
    assert third.status_code == 303
    assert scripted.asked[-1][1]["sure"] is True


def test_a_form_leads_nowhere_else() -> None:
    scripted = gateway(**{"stores.report": {ITEM: {"lesson": "learned"}}})
    form = {"act": "spam", "id": ITEM, "back": "https://e.example/"}
    assert visit(scripted, "/quarantine/act", data=form).headers["location"] == "/"
    assert scripted.asked[-1] == ("stores.report", {"items": [ITEM], "lesson": "spam"})


def test_all_that_match_are_counted_asked_about_and_done_in_steps() -> None:
    steps = iter(
        [
            {"found": 3, "bytes": 9},
            {"found": 2, "done": 2, "refused": 0, "why": {}, "cursor": "c", "ended": False},
            {"found": 1, "done": 0, "refused": 1, "why": {ITEM: EVIL}, "cursor": "", "ended": True},
        ]
    )
    scripted = gateway(**{"stores.act": lambda _: next(steps)})
    form = {"verb": "delete", "store": "backup", "sender": "x@example.net"}
    asked = visit(scripted, "/quarantine/all", data=form)
    assert "Delete 3 message(s) for good?" in asked.text
    assert scripted.asked[-1][1]["dry_run"] is True
    moment = re.findall(r'name="moment" value="([0-9.]+)"', asked.text)[0]
    first = visit(scripted, "/quarantine/all", data=form | {"confirmed": "1", "moment": moment, "total": "3"})
    assert "2 of 3 message(s)" in first.text
    assert 'name="cursor" value="c"' in first.text
    again = form | {"confirmed": "1", "moment": moment, "total": "3", "done": "2", "cursor": "c"}
    last = visit(scripted, "/quarantine/all", data=again, fragment=True)
    assert "Back to the list" in last.text
    assert "<form" not in last.text
    assert_text_only(last.text)
    assert scripted.asked[-1][1]["filter"]["until"] == pytest.approx(float(moment))
    assert scripted.asked[-1][1]["filter"]["senders"] == ["x@example.net"]
    assert scripted.asked[-1][1]["kinds"] == ["backup"]


def test_the_queue_is_acted_on_by_choice_and_by_filter() -> None:
    told = {"found": 1, "done": 1, "refused": 0, "why": {}, "upto": 9, "seen": 1, "ended": True}
    scripted = gateway(act=told, pause="done")
    held = visit(scripted, "/queue/act", data={"act": "hold", "id": ID, "text": "looks odd", "back": f"/queue/{ID}"})
    assert held.status_code == 303
    assert scripted.asked[-1][1]["verb"] == "hold"
    assert scripted.asked[-1][1]["text"] == "looks odd"
    assert "Remove 1 message(s)?" in visit(scripted, "/queue/act", data={"act": "remove", "id": ID}).text
    counted = visit(scripted, "/queue/all", data={"verb": "retry", "domain": "example.net"})
    assert "Try 1 message(s) now?" in counted.text
    assert scripted.asked[-1][1]["filter"] == {"domains": ["example.net"]}
    done = visit(
        scripted, "/queue/all", data={"verb": "retry", "domain": "example.net", "confirmed": "1", "total": "1"}
    )
    assert "1 of 1 message(s)" in done.text
    visit(scripted, "/queue/destination", data={"domain": "example.net", "act": "pause"})
    assert scripted.asked[-1] == ("pause", {"domain": "example.net", "paused": True})


def test_who_sees_only_some_domains_looks_at_their_waiting_mail_and_does_not_act() -> None:
    scripted = gateway(Role.DOMAIN)
    page = visit(scripted, "/queue").text
    assert ID in page
    assert [name for name, _ in scripted.asked] == ["queue"], "how much waits for others is not asked"
    for text in (page, visit(scripted, f"/queue/{ID}").text):
        assert "Give up" not in text
        assert f"/queue/{ID}/preview" not in text
    assert '<a href="/queue"' in page, "it is in the menu"


def test_lessons_are_taken_back_when_that_is_confirmed() -> None:
    scripted = gateway()
    assert "Take back all that bob taught" in visit(scripted, "/learning/undo", data={"who": "bob"}).text
    assert not scripted.asked
    assert visit(scripted, "/learning/undo", data={"who": "bob", "confirmed": "1"}).status_code == 303
    assert scripted.asked[-1] == ("learning.undo", {"who": "bob", "hours": 24})


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/quarantine/act", {"act": "release", "id": ITEM}),
        ("/quarantine/all", {"verb": "delete", "confirmed": "1"}),
        ("/queue/act", {"act": "remove", "id": ID, "confirmed": "1"}),
        ("/queue/all", {"verb": "remove", "confirmed": "1"}),
        ("/queue/destination", {"domain": "d", "act": "pause"}),
    ],
)
def test_forms_of_elsewhere_and_of_those_without_the_right_do_nothing(path: str, form: dict[str, str]) -> None:
    scripted = gateway()
    assert visit(scripted, path, data=form | {"csrf": "another"}).status_code == 403
    assert not scripted.asked
    scripted = gateway(Role.READ_ONLY)
    answer = visit(scripted, path, data=form)
    assert answer.status_code == 403 or "asks" in path or not scripted.asked


def test_trouble_of_a_call_is_told_and_not_hidden() -> None:
    failing = gateway(**{"tracking.search": ControlError("the recorder does not answer")})
    text = visit(failing, "/tracking").text
    assert "the recorder does not answer" in text
    down = gateway(
        **{
            "tracking.mail": ControlError("the recorder does not answer"),
            "stores.of": ControlError("no"),
            "show": ControlError("no"),
        }
    )
    answer = visit(down, f"/tracking/{ID}")
    assert answer.status_code == 404
    assert "the recorder does not answer" in answer.text
    assert (
        visit(gateway(**{"stores.show": ControlError("no such stored message")}), f"/quarantine/{ITEM}").status_code
        == 409
    )


def test_what_makes_no_sense_in_a_form_is_told() -> None:
    for path in (
        "/quarantine?since=yesterday",
        "/quarantine?rate=200",
        "/queue?older=soon",
        "/tracking?since=x",
        "/queue/xyz",
    ):
        assert visit(gateway(), path).status_code == 409, path


def test_a_search_comes_as_a_table_and_as_lines() -> None:
    csv = visit(
        gateway(**{"tracking.search": {"mails": [MAIL | {"subject": "=1+1"}], "cursor": ""}}), "/tracking/file.csv"
    )
    assert csv.headers["content-type"].startswith("text/csv")
    assert "'=1+1" in csv.text
    lines = visit(gateway(**{"tracking.search": {"mails": [MAIL, MAIL], "cursor": ""}}), "/tracking/file.json")
    assert len(lines.text.splitlines()) == 2
    assert lines.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("changed", "told"),
    [(True, "block as spam, and not deliver"), (False, "")],
)
def test_a_life_tells_what_a_shadow_would_have_done_at_once(changed: bool, told: str) -> None:
    record = {
        "type": "shadowed",
        "id": "0123456789ABC",
        "at": 1.0,
        "shadow": "stricter",
        "group": "policy",
        "recipients": 1,
        "was": "deliver",
        "would": "block as spam" if changed else "deliver",
        "changed": changed,
    }
    [step] = tell_life([record], "0123456789ABC").steps
    assert step.detail == told
    assert ("something else" in step.title) is changed
