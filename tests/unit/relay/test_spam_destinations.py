"""Where spam goes that is not delivered: who hears of it, what is left, and that nothing goes round.

A real disposal over a spool and a delivery that only note what they are given.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gatepost.config.load import load_text
from gatepost.model.authn import AuthnMaterial, AuthnResults, DkimResult
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.ids import QueueIds
from gatepost.model.record import Blocked, Discarded, Generated, Record
from gatepost.model.spam import Method, NetworkFacts, Sign, SpamFacts
from gatepost.notices.outcome import Outcome, ReportKind
from gatepost.policy.group import GroupTable
from gatepost.relay.disposal import Disposal
from gatepost.relay.editing import Editing, Wording
from gatepost.relay.notifying import Notifying
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.saving import Saving
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, NewMessage, State, Stored

CONFIG = """
[network]
hostname = "gw.example.org"
[policy]
check = false
action_spam = {actions}
"""
CONTENT = b"From: <x@b.example>\r\nSubject: buy\r\n\r\nnow\r\n"
ID = 1 << 40
SENDER = "x@b.example"
ENVELOPE = Envelope(SENDER, (Recipient("user@example.org"),), Client("192.0.2.1"))
SPAM = SpamFacts(signs=(Sign(Method.CONTENT, "buy", "says buy", 9.0),), authn=AuthnMaterial(authors=(SENDER,)))
NOTHING = AuthnResults()
SIGNED = AuthnResults(
    dkim=(DkimResult("b.example", "s", "pass"),), dmarc="pass", dmarc_domain="b.example", authenticated=("b.example",)
)
SENT = AuthnResults(spf="pass", spf_domain="b.example", authenticated=("b.example",))


class Case:
    """One spam, its disposal, and what became of it."""

    def __init__(self, actions: Sequence[str]) -> None:
        config = load_text(CONFIG.format(actions=list(actions)).replace("'", '"'), "x.toml").config
        assert config is not None
        self.delivered: list[tuple[str, list[str]]] = []
        """Sender and recipients of each copy."""
        self.reported: list[str] = []
        self.records: list[Record] = []
        me: Any = self
        nobody: Any = None
        ids, editing = QueueIds(0, 0), Editing()
        self.saving = saving = Saving(lambda *_: None)
        saving.configure(config)
        wording = Wording(hostname="gw.example.org")
        editing.configure(wording)
        groups = GroupTable.from_config(config.groups, config.ave, 60.0, antispam=config.antispam)
        notifying = Notifying(me, ids, saving, OwnMark(nobody), lambda: 1_790_000_000_000, lambda _: None, nobody)
        notifying.configure(config.notices, wording, groups.groups)
        self.partition = [(groups.groups[-1], (0,))]
        self.disposal = Disposal(
            spool=me,
            ids=ids,
            delivery=me,
            saving=saving,
            editing=editing,
            notifying=notifying,
            reports=me,
            clock_ms=lambda: 1_790_000_000_000,
        )

    # As the spool, as delivery and as the maker of reports:

    async def dispose(
        self, _: int, copies: Sequence[Stored], records: Sequence[Record], made: Sequence[NewMessage]
    ) -> None:
        self.records += records
        self.reported += [each.address for new in made for each in new.stored.envelope.recipients]

    def submit(self, work: Work | Sequence[NewMessage]) -> None:
        if isinstance(work, Work):
            envelope = work.stored.envelope
            waiting = [envelope.recipients[each.recipient].address for each in work.stored.pending]
            self.delivered.append((envelope.sender, waiting))

    def wants(self, *_: object) -> bool:
        return True

    async def make(self, kind: ReportKind, work: Work, outcomes: Sequence[Outcome], now: float) -> Any:
        report = Envelope("", (Recipient(work.stored.envelope.sender),), Client(""))
        new = Stored(ID + 99, ID + 99, State.WAITING, now, report, ContentRef(ID + 99, 0, False), b"")
        content: Any = None
        return NewMessage(new, content), None

    def become(self, envelope: Envelope = ENVELOPE, authn: AuthnResults = NOTHING) -> "Case":
        """Dispose of the spam."""

        async def run() -> None:
            stored = Stored(ID, ID, State.WAITING, 1.0, envelope, ContentRef(ID, len(CONTENT), False), b"")
            analysis = Analysis((), spam=SPAM, network=NetworkFacts(authn=authn))
            done = self.disposal.dispose(Work(stored, CONTENT), self.partition, analysis)
            if done is not None:
                await done
            await self.saving.close()

        asyncio.run(run())
        return self


# --- backscatter


@pytest.mark.parametrize(
    ("sender", "authn"),
    [
        (SENDER, NOTHING),
        (SENDER, msgspec.structs.replace(SENT, spf="softfail", authenticated=())),
        (SENDER, SIGNED),
        ("victim@b.example", SIGNED),
        ("victim@other.example", SENT),
        ("", msgspec.structs.replace(SENT, spf_helo=True)),
    ],
    ids=["stranger", "softfail", "signed", "signed-by-a-neighbour", "other-domain", "null-sender"],
)
def test_a_forged_sender_hears_nothing_of_a_rejection(sender: str, authn: AuthnResults) -> None:
    case = Case(["reject"]).become(msgspec.structs.replace(ENVELOPE, sender=sender), authn)
    assert (case.reported, case.delivered) == ([], [])
    (blocked,) = [each for each in case.records if isinstance(each, Blocked)]
    assert "not told" in blocked.reason


@pytest.mark.parametrize("user", ["", "somebody"])
def test_a_sender_who_is_known_hears_of_a_rejection(user: str) -> None:
    envelope = msgspec.structs.replace(ENVELOPE, client=Client("192.0.2.1", user=user))
    assert Case(["reject"]).become(envelope, NOTHING if user else SENT).reported == [SENDER]


@pytest.mark.parametrize("authn", [NOTHING, SENT, SIGNED])
def test_deleting_leaves_nothing_but_a_record(authn: AuthnResults) -> None:
    case = Case(["delete"]).become(authn=authn)
    assert (case.reported, case.delivered) == ([], [])
    assert [type(each) for each in case.records if isinstance(each, (Discarded, Blocked, Generated))] == [Discarded]


# --- loops


def test_what_is_sent_on_bounces_to_nobody() -> None:
    assert Case(["redirect:trap@example.org"]).become().delivered == [("", ["trap@example.org"])]
    two = Case(["copyto:a@example.org", "copyto:b@example.org"]).become().delivered
    assert two == [(SENDER, ["user@example.org"]), ("", ["a@example.org", "b@example.org"])]


@pytest.mark.parametrize(
    "actions",
    [["redirect:trap@example.org"], ["copyto:trap@example.org", "copyto:b@example.org"]],
)
def test_what_comes_by_again_is_not_sent_on_again(actions: list[str]) -> None:
    again = msgspec.structs.replace(ENVELOPE, sender="", recipients=(Recipient("Trap@example.org"),))
    assert Case(actions).become(again).delivered == [("", ["Trap@example.org"])]
    other = msgspec.structs.replace(again, recipients=(Recipient("user@example.org"),))
    assert ("", ["Trap@example.org"]) not in Case(actions).become(other).delivered
    assert any("trap@example.org" in to for _, to in Case(actions).become(other).delivered)
    straight = msgspec.structs.replace(again, sender=SENDER)
    assert ("", ["trap@example.org"]) in [(by, to[:1]) for by, to in Case(actions).become(straight).delivered]
