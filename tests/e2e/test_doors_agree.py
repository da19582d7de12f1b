"""The same mails by SMTP, milter, spamd, rspamd and pipe: judged the same, and the same done by rules.

The first test is a short run of `make prove NAME=doors`.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import open_directory
from tests.support import milter_peer as mta
from tests.support.mails import plain
from tests.support.waiting import wait_for

from gatepost.model.profile import Act, Action, Condition, ConditionKind, Profile, ProfileRef, Rule, RuleSet

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import prove_doors
from door_ways import Answer, Asked

SHARES = {"spam/inbox-2023-2025": 25, "mime/mime-tests": 20, "av/av-tests": 15}
LARGEST = 16 * 1024
"""Bytes of a file: large ones cost the suite a second and prove nothing more."""
SENDER = "sender@example.net"
QUEUE_ID = re.compile(r"\b[0-9A-Z]{13}\b")


def rule(name: str, *actions: Action) -> Rule:
    return Rule(conditions=(Condition(test=ConditionKind.RECIPIENT, value=f"{name}@example.org"),), actions=actions)


RULES = RuleSet(
    common=(ProfileRef(file="gate"),),
    profiles={
        "gate": Profile(
            name="Gate",
            rules=(
                rule("r-refused", Action(do=Act.REJECT)),
                rule("r-hole", Action(do=Act.BLACK_HOLE)),
                rule("r-added", Action(do=Act.RECIPIENT_ADD, addresses=("r-second@example.org",))),
                rule("r-replaced", Action(do=Act.RECIPIENT_REPLACE, addresses=("r-instead@example.org",))),
                rule(
                    "r-header",
                    Action(do=Act.HEADER_LABEL, value="[RULED]", header="Subject"),
                    Action(do=Act.HEADER_NEW, value="yes", header="X-New"),
                    Action(do=Act.HEADER_DELETE, header="X-Secret"),
                ),
            ),
        )
    },
)


@pytest.fixture(scope="module")
def site() -> Iterator[prove_doors.Site]:
    with open_directory("doors") as place, prove_doors.Site(place, RULES) as site:
        yield site


def test_all_doors_say_the_same_of_the_same_mail(site: prove_doors.Site) -> None:
    if not (prove_doors.SHARED / "corpora").is_dir():
        pytest.skip(f"there is no corpus below {prove_doors.SHARED}: set GATEPOST_SHARED")
    told: list[str] = []
    assert prove_doors.prove(SHARES, site, told.append, LARGEST) == []
    assert "60 mails" in told[1], told
    for kind in ("delivered", "refused or withheld", "status spam", "status blacklisted", "with infected objects"):
        assert kind in told[1], told


class Ruled:
    """What became of one mail to a recipient of a rule, in all ways."""

    def __init__(self, site: prove_doors.Site, name: str) -> None:
        self.recipient = f"{name}@example.org"
        mail = plain(name).replace(b"\r\n\r\n", b"\r\nX-Secret: none\r\n\r\n", 1)
        self.asked = Asked(0, mail, SENDER, self.recipient, line_feeds=False)  # number 0: spamd's PROCESS
        sinks = (site.next, site.behind_pipe)
        before = [len(sink.mails) for sink in sinks]
        self.said: dict[str, Answer] = {name: way.ask(self.asked) for name, way in site.ways.items()}
        wait_for(lambda: not site.gateway.queue(), "the queue to be empty")
        mails = [sink.mails[count:] for sink, count in zip(sinks, before, strict=True)]
        self.by_smtp, self.by_pipe = ([sorted(each.recipients) for each in some] for some in mails)
        self.smtp_copy = prove_doors.without_trace(mails[0][0].content) if mails[0] else b""
        self.pipe_copy = mails[1][0].content if mails[1] else b""

    def packets(self, kind: str) -> list[bytes]:
        return [data for command, data in self.said["milter"].told if command == kind]


def test_a_rule_changes_the_header_at_every_door(site: prove_doors.Site) -> None:
    ruled = Ruled(site, "r-header")
    copy = ruled.said["milter"].copy
    assert copy is not None
    assert b"\r\nSubject: [RULED] r-header\r\n" in copy
    assert b"X-New: yes\r\n" in copy
    assert b"X-Secret" not in copy
    assert ruled.smtp_copy == ruled.pipe_copy == copy
    assert b"Subject: [RULED] r-header\r\n" in (ruled.said["spamd"].copy or b"")
    header = sorted(mta.fields_of(copy.partition(b"\r\n\r\n")[0] + b"\r\n"))
    assert sorted(mta.fields_of(ruled.said["rspamd"].copy or b"")) == header
    assert ruled.said["rspamd"].word == "no action"


def test_a_rule_adds_and_replaces_recipients_at_every_door(site: prove_doors.Site) -> None:
    added, replaced = Ruled(site, "r-added"), Ruled(site, "r-replaced")
    everybody = ["r-added@example.org", "r-second@example.org"]
    for arrived in (added.by_smtp, added.by_pipe):
        assert sorted(each for mail in arrived for each in mail) == everybody
    assert (added.packets("+"), added.packets("-")) == ([b"<r-second@example.org>\0"], [])
    assert added.said["rspamd"].told["milter"]["add_rcpt"] == ["r-second@example.org"]
    assert replaced.by_smtp == replaced.by_pipe == [["r-instead@example.org"]]
    assert (replaced.packets("+"), replaced.packets("-")) == (
        [b"<r-instead@example.org>\0"],
        [b"<r-replaced@example.org>\0"],
    )
    changes = replaced.said["rspamd"].told["milter"]
    assert (changes["add_rcpt"], changes["del_rcpt"]) == (["r-instead@example.org"], ["r-replaced@example.org"])


def test_a_rule_refuses_and_swallows_at_every_door(site: prove_doors.Site) -> None:
    refused, hole = Ruled(site, "r-refused"), Ruled(site, "r-hole")
    assert refused.by_smtp == refused.by_pipe == hole.by_smtp == hole.by_pipe == []
    said = {name: answer.word for name, answer in refused.said.items()}
    assert said == {"smtp": "refuse", "milter": "refuse", "pipe": "refuse", "spamd": "spam", "rspamd": "reject"}
    replies = (refused.said["smtp"].told, refused.said["pipe"].told, refused.said["milter"].told[5:-1].decode())
    assert len({QUEUE_ID.sub("", reply) for reply in replies}) == 1, replies
    said = {name: answer.word for name, answer in hole.said.items()}
    assert said == {"smtp": "taken", "milter": "discard", "pipe": "taken", "spamd": "spam", "rspamd": "reject"}
