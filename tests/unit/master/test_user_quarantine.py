"""The quarantine of recipients over real stores and its real pages: what is whose, links and sessions, digests.

One loop, no processes, no sockets; the clock is stepped.
"""

import asyncio
import datetime as dt
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.console import Answer, Browser
from tests.unit.storage.store_items import NOW, new, put

from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.console.settings import Settings
from gatepost.console.user_quarantine.app import build_user_app
from gatepost.console.user_quarantine.words import choose_language
from gatepost.control.desk import Desk
from gatepost.control.link import LinkCall, result_of
from gatepost.control.mail_links import Verb, new_link, open_link, seal_link
from gatepost.control.rights import RIGHTS_OF, Caller, Right, Role
from gatepost.control.sessions import Sessions
from gatepost.control.socket import ControlError, Request
from gatepost.master.console import ConsoleHost
from gatepost.master.digest_state import DigestState, Run
from gatepost.master.digests import Digests
from gatepost.master.link_requests import ALL_TRIES, CLIENT_TRIES, CLIENT_WINDOW_S, LinkRequests, Requests
from gatepost.master.lists import Lists
from gatepost.master.own_mail import Whose, is_own, is_plain
from gatepost.master.user_desk import UserDesk
from gatepost.master.user_front import PAGES, _host_names
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.spool import clock
from gatepost.storage.container import Event
from gatepost.storage.item import StoreKind
from gatepost.storage.store import New, Store

SPAM = StoreKind.SPAM_QUARANTINE
ANN, BOB = "ann@example.org", "bob@example.org"
DAY = 86400.0
SETTINGS = """
[user_quarantine]
enabled = true
url = "https://spam.example.org"
reports = true
"""


class Content:
    """Notes what is shown and taught."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def show(self, target: Any) -> dict[str, Any]:
        self.asked.append(("show", target.id))
        empty = {"source": "", "parts": [], "links": [], "remote": 0, "cut": False, "trouble": ""}
        return {"fields": [["Subject", "<i>words</i>"]], "html": "<p>shown</p><script>1</script>", "text": "", **empty}

    async def teach(self, target: Any, lesson: str, caller: Caller) -> str:
        self.asked.append(("teach", target.id, lesson, caller.name, *caller.domains))
        return "learned"


class Notes:
    """An audit log."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str, dict[str, Any], str]] = []

    def write(self, caller: Caller, call: str, arguments: Any, outcome: str) -> None:
        self.entries.append((caller.name, caller.via, call, dict(arguments), outcome))


class Hall:
    """A gateway as far as recipients see it."""

    def __init__(self, path: Path, extra: str = "") -> None:
        text = build_default_config(
            state_path=str(path), hostname="gw.example.org", listen="127.0.0.1:2525", next_hop="[127.0.0.1:2526]",
            protected_domains=("example.org",), log_filename="",
        )  # fmt: skip
        own = f'[policy]\nuser_quarantine = true\ndigest_never = ["list@example.org"]\n{extra}'
        file = path / "gatepost.toml"
        file.write_text(text.replace("[policy]\n", own, 1) + SETTINGS)
        config = load(file).config
        assert isinstance(config, Config), load(file).errors
        self.config = config
        self.now = NOW
        self.notes = Notes()
        self.content = Content()
        self.mails: list[dict[str, Any]] = []
        self.released: list[dict[str, Any]] = []
        self.refuse = ""
        self.state = DigestState(path / "user-quarantine")
        self.state.turn(self.now, config.user_quarantine.link_time)
        self.store = Store(config.groups[-1].spam_quarantine_path, lambda *_: None, create=True)
        self.accounts_desk, self.desk = Desk(self.notes), Desk(self.notes)
        Lists(str(path), lambda: self.config, self._spread, lambda *_: None, self.clock).register(self.accounts_desk)
        self.requests = LinkRequests(self.state, lambda: self.config, self._announce, lambda *_: None, self.clock)
        self.calls = UserDesk(
            state=self.state, config=lambda: self.config, sessions=Sessions(3600, 3600), desk=self.desk,
            accounts_desk=self.accounts_desk, release=self._release, content=self.content, asked=self.requests, clock=self.clock,
        )  # fmt: skip
        self.digests = Digests(self.state, lambda: self.config, self._announce, lambda *_: None, self.clock)
        self.host = ConsoleHost(self.desk, self.calls.caller_of, lambda *_: None, PAGES)
        self.host.register(self.accounts_desk)
        self.app: Any = build_user_app(self, Settings(host_names=("spam.example.org",)))

    def clock(self) -> float:
        return self.now

    async def _spread(self) -> None:
        pass

    async def _announce(self, **mail: Any) -> str:
        if self.refuse:
            raise ControlError(self.refuse)
        self.mails.append(mail)
        return "id"

    async def _release(self, order: dict[str, Any]) -> dict[str, Any]:
        if self.refuse:
            return {item: {"refused": self.refuse} for item in order["items"]}
        self.released.append(order)
        for item in order["items"]:
            self.note_release(item, *order["recipients"])
        await asyncio.sleep(0)
        return {item: {"queue_id": "0ABCDEFGHJKMN"} for item in order["items"]}

    def note_release(self, item: str, *to: str) -> None:
        event = Event("released", self.now, release=f"{item}#1", queue_id="0ABCDEFGHJKMN", recipients=to)
        self.store.change_events(item, lambda _: event)

    async def call(self, name: str, arguments: dict[str, Any], **given: Any) -> Any:
        """Be the link of the pages' process."""
        given.pop("via", None)
        answer = result_of(await self.host.answer(LinkCall(1, name, arguments, via="console", **given)))
        return msgspec.json.decode(msgspec.json.encode(answer))

    def put(self, *recipients: str, at: float = 0.0, **given: Any) -> str:
        """Store a message that was kept as spam."""
        chosen = {"statuses": ("clean", "spam"), "blocked": True, "group": "policy", "code": "SPM", "rate": 90} | given
        made = new(store=SPAM, recipients=recipients or (ANN,), at=at or self.now - 60, threat="")
        item = msgspec.structs.replace(made.item, objects=(), **chosen)
        return put(self.store, New(item, made.content))[0]

    def link(self, verb: Verb, item: str = "", who: str = ANN, life_s: float = DAY) -> str:
        return seal_link(new_link(verb, who, self.now + life_s, item), self.state.keys[0])

    def browser(self) -> Browser:
        return Browser(self.app, host="spam.example.org", scheme="https")

    async def use(self, link: str, browser: Browser | None = None) -> Answer:
        """Open a link and send the form of its page."""
        browser = browser or self.browser()
        shown = await browser.get(f"/l/{link}")
        form = re.search(r'name="form" value="(\w+)"', shown.text)
        return await browser.post(f"/l/{link}", {"form": form[1] if form else ""}, origin="null")

    async def opened(self, who: str = ANN) -> tuple[Browser, str]:
        """A browser with a session, and what its forms send back."""
        browser = self.browser()
        answer = await self.use(self.link(Verb.OPEN, who=who), browser)
        assert answer.status == 303, answer.text
        csrf = re.search(r'name="csrf" value="([\w-]+)"', (await browser.get("/")).text)
        assert csrf
        return browser, csrf[1]


def in_hall(path: Path, work: Callable[[Hall], Awaitable[None]], extra: str = "") -> None:
    async def scene() -> None:
        hall = Hall(path, extra)
        try:
            await work(hall)
        finally:
            hall.store.close()
            hall.state.close()

    asyncio.run(scene())


# --- what is whose

NOT_THEIRS = [
    {"statuses": ("infected", "spam")},
    {"statuses": ("clean", "infected", "spam")},
    {"statuses": ("suspicious", "spam")},
    {"statuses": ("protected", "spam")},
    {"statuses": ("filtered", "spam")},
    {"statuses": ("disinfected", "spam")},
    {"statuses": ("error", "spam")},
    {"statuses": ("spam",)},
    {"statuses": ()},
    {"statuses": ("clean", "not-scanned", "spam")},
    {"blocked": False},
    {"store": StoreKind.QUARANTINE},
    {"store": StoreKind.BACKUP},
    {"kind": "notice-admin"},
    {"group": "other"},
    {"envelope": Envelope("boss@example.org", (Recipient(ANN),), Client("192.0.2.7"), direction=Direction.OUTBOUND)},
]


@pytest.mark.parametrize("given", NOT_THEIRS, ids=str)
def test_what_is_no_spam_alone_is_never_theirs(tmp_path: Path, given: dict[str, Any]) -> None:
    async def work(hall: Hall) -> None:
        item = hall.put(**given)
        whose, container = Whose.of(hall.config), hall.store.container(item)
        assert not is_own(whose, container.item, ANN)
        browser = hall.browser()
        for verb in (Verb.RELEASE, Verb.ALLOW, Verb.BLOCK):
            link = hall.link(verb, item)
            assert "no longer kept" in (await browser.get(f"/l/{link}")).text
            assert (await hall.use(link)).status == 403
        browser = hall.browser()
        assert (await hall.use(hall.link(Verb.OPEN), browser)).status == 303
        assert "No messages" in (await browser.get("/")).text
        assert (await browser.get(f"/m/{item}")).status == 409
        assert (await browser.get(f"/m/{item}/frame")).status == 409
        await hall.digests.look()
        assert await hall.digests.send_now(days=3) == 0
        assert hall.released == []
        assert hall.content.asked == []

    in_hall(tmp_path, work)


def test_spam_that_was_found_clean_is_the_recipients_alone(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        item = hall.put("Ann@Example.org", BOB, "list@example.org", statuses=("clean", "blacklisted"))
        whose, kept = Whose.of(hall.config), hall.store.container(item).item
        assert [each for each in (ANN, BOB, "eve@example.org", "list@example.org") if is_own(whose, kept, each)] == [
            ANN,
            BOB,
        ]
        browser = hall.browser()
        assert (await hall.use(hall.link(Verb.RELEASE, item, "eve@example.org"))).status == 403
        assert (await hall.use(hall.link(Verb.RELEASE, item, "list@example.org"))).status == 403
        assert (await hall.use(hall.link(Verb.RELEASE, item, ANN), browser)).status == 200
        assert [order["recipients"] for order in hall.released] == [["Ann@Example.org"]]
        assert hall.released[0]["checked"] is True
        assert BOB not in (await browser.get("/")).text

    in_hall(tmp_path, work)


@pytest.mark.parametrize("address", ["*@example.org", "a?@example.org", "[a]@example.org", "!a@b.example", "a b@c.example", "a@", "@b", "a\n@b.example", '"a"@b.example', "a,b@c.example", "x" * 400 + "@b.example"])  # fmt: skip
def test_addresses_that_could_mean_others(tmp_path: Path, address: str) -> None:
    """Strangers write masks into addresses: no list of others' mail, no entry for all of a domain."""
    assert not is_plain(address)

    async def work(hall: Hall) -> None:
        hall.put(ANN)
        item = hall.put(ANN, address) if address.isprintable() else ""
        browser = hall.browser()
        assert (await hall.use(hall.link(Verb.OPEN, who=address), browser)).status == 303
        assert "No messages" in (await browser.get("/")).text
        if item:
            assert (await hall.use(hall.link(Verb.RELEASE, item, address))).status == 403
        await hall.call("link.ask", {"address": address})
        assert not hall.requests.under_way

    in_hall(tmp_path, work)


def test_recipients_elsewhere_are_none_of_ours(tmp_path: Path) -> None:
    """Whoever our own people write to gets no link to what was kept of it."""

    async def work(hall: Hall) -> None:
        stranger = "customer@elsewhere.example"
        item = hall.put(ANN, stranger)
        assert (await hall.use(hall.link(Verb.RELEASE, item, stranger))).status == 403
        assert await hall.digests.send_now(days=1) == 1
        assert [mail["to"] for mail in hall.mails] == [(ANN,)]
        await hall.call("link.ask", {"address": stranger})
        await asyncio.gather(*hall.requests.under_way)
        assert len(hall.mails) == 1

    in_hall(tmp_path, work)


def test_entries_of_one_recipient_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.master.user_desk.ENTRIES_EACH", 1)

    async def work(hall: Hall) -> None:
        assert (await hall.use(hall.link(Verb.BLOCK, hall.put()))).status == 200
        refused = await hall.use(hall.link(Verb.ALLOW, hall.put()))
        assert (refused.status, "as many entries" in refused.text) == (409, True)
        assert (await hall.use(hall.link(Verb.BLOCK, hall.put(BOB), BOB))).status == 200

    in_hall(tmp_path, work)


# --- links


def test_only_the_form_of_the_page_acts_and_once(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        item = hall.put()
        link = hall.link(Verb.RELEASE, item)
        browser = hall.browser()
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"):
            answer = await browser.request(
                method, f"/l/{link}", headers={"origin": "null", "sec-fetch-site": "same-origin"}
            )
            assert answer.headers["referrer-policy"] == "no-referrer" or method == "OPTIONS"
        shown = await browser.get(f"/l/{link}")
        assert "script" not in shown.headers["content-security-policy"].replace("default-src", "")
        assert shown.headers["cache-control"] == "no-store"
        assert shown.set_cookies == []
        form = re.search(r'name="form" value="(\w+)"', shown.text)
        assert form
        path = f"/l/{link}"
        assert (await browser.post(path, {})).status == 403
        assert (await browser.post(path, {"form": form[1][::-1]})).status == 403
        assert (await browser.post(path, {"form": form[1]}, origin="https://evil.example")).status == 403
        assert (
            await browser.post(path, {"form": form[1]}, origin="null", **{"sec-fetch-site": "cross-site"})
        ).status == 403
        assert hall.released == []
        answers = await asyncio.gather(*(browser.post(path, {"form": form[1]}, origin="null") for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
        assert len(hall.released) == 1
        assert "used before" in (await browser.get(path)).text
        again = DigestState(tmp_path / "user-quarantine")  # as after a restart
        assert again.is_used(open_link(link, again.keys, hall.now).id)
        again.close()

    in_hall(tmp_path, work)


def test_a_link_is_good_for_its_act_on_its_message_alone(tmp_path: Path) -> None:
    """Also when the process of the pages is taken over: the link is no credential for anything else."""

    async def work(hall: Hall) -> None:
        item, other = hall.put(), hall.put()
        link = hall.link(Verb.ALLOW, item)
        for name in hall.desk.calls:
            if name.startswith("own."):
                with pytest.raises(ControlError):
                    await hall.call(name, {"item": other, "lesson": "spam"}, credential=link)
        with pytest.raises(ControlError, match="unknown call"):
            await hall.call("lists.add", {}, credential=link)
        with pytest.raises(ControlError, match="unknown call"):
            await hall.call("accounts.list", {})
        assert hall.released == []
        assert (await hall.use(link)).status == 200
        assert [entry[2] for entry in hall.notes.entries if not entry[4]] == ["lists.add", "own.allow"]
        assert hall.notes.entries[-1][:4] == (ANN, "user", "own.allow", {"item": item})

    in_hall(tmp_path, work)


def test_a_link_ends_and_a_fresh_one_goes_to_its_recipient(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.put()
        link = hall.link(Verb.OPEN, life_s=100)
        hall.now += 101
        browser = hall.browser()
        shown = await browser.get(f"/l/{link}")
        assert (shown.status, "This link has ended." in shown.text) == (410, True)
        assert (await hall.use(link)).status == 403
        assert (await browser.post(f"/l/{link}/fresh", {})).status == 200
        await asyncio.gather(*hall.requests.under_way)
        assert [mail["to"] for mail in hall.mails] == [(ANN,)]
        fresh = re.search(r"https://spam\.example\.org/l/([\w-]+)", hall.mails[0]["text"])
        assert fresh
        assert (await hall.use(fresh[1])).status == 303

    in_hall(tmp_path, work)


def test_what_is_no_link_is_a_page_that_tells_nothing_and_guessing_is_braked(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.put()
        browser = hall.browser()
        for _ in range(12):
            answer = await browser.get("/l/" + "A" * 140)
            assert answer.status == 401
        assert "wait a minute" in answer.text
        assert (
            await Browser(hall.app, host="spam.example.org", scheme="https", address="192.0.2.9").get(
                f"/l/{hall.link(Verb.OPEN)}"
            )
        ).status == 200

    in_hall(tmp_path, work)


def test_a_failure_leaves_the_link_good(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        link = hall.link(Verb.RELEASE, hall.put())
        hall.refuse = "no relay"
        assert (await hall.use(link)).status == 409
        hall.refuse = ""
        assert (await hall.use(link)).status == 200

    in_hall(tmp_path, work)


def test_what_went_to_all_or_to_others_already(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        to_all, to_bob = hall.put(ANN, BOB), hall.put(ANN, BOB)
        hall.note_release(to_all)
        hall.note_release(to_bob, BOB)
        browser, csrf = await hall.opened()
        for item in (to_all, to_bob, to_bob):
            assert (await browser.post("/act", {"csrf": csrf, "act": "release", "item": item})).status == 303
        assert [(order["items"], order["recipients"]) for order in hall.released] == [([to_bob], [ANN])]

    in_hall(tmp_path, work)


def test_senders_that_are_masks_are_never_listed(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        made = new(store=SPAM, recipients=(ANN,), at=hall.now - 60, threat="", sender="*@bank.example")
        item = msgspec.structs.replace(made.item, objects=(), statuses=("clean", "spam"), blocked=True, group="policy")
        (stored,) = put(hall.store, New(item, made.content))
        assert (await hall.use(hall.link(Verb.ALLOW, stored))).status == 409
        browser, _ = await hall.opened()
        assert "Allow the sender" not in (await browser.get("/")).text
        await hall.digests.send_now(days=1)
        assert "Allow the sender" not in hall.mails[0]["text"]
        assert not (await hall.accounts_desk.handle(Request("lists.show", {}), Caller("a", RIGHTS_OF[Role.ADMIN])))[
            "rows"
        ]

    in_hall(tmp_path, work)


# --- sessions and pages


def test_the_page_of_one_recipient(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        item = hall.put(ANN, BOB, subject="<script>alert(1)</script>\u202e")
        hall.put(BOB, subject="for bob alone")
        browser, csrf = await hall.opened()
        text = (await browser.get("/")).text
        assert "&lt;script&gt;" in text
        assert "<script" not in text
        assert "for bob alone" not in text
        assert BOB not in text
        frame = await browser.get(f"/m/{item}/frame")
        assert "<p>shown</p>" in frame.text
        assert "<script" not in frame.text
        assert frame.headers["content-security-policy"].startswith("default-src 'none'; img-src data:")
        assert "&lt;i&gt;" in frame.text
        assert (await browser.post("/act", {"csrf": csrf[::-1], "act": "block", "item": item})).status == 403
        assert (await browser.post("/act", {"csrf": csrf, "act": "delete", "item": item})).status == 403
        assert (await browser.post("/act", {"csrf": csrf, "act": "block", "item": item})).status == 303
        assert (await browser.post("/act", {"csrf": csrf, "act": "wanted", "item": item})).status == 303
        assert hall.content.asked[-1] == ("teach", item, "wanted", ANN, "example.org")
        rows = (await hall.accounts_desk.handle(Request("lists.show", {}), Caller("a", RIGHTS_OF[Role.ADMIN])))["rows"]
        last = dt.datetime.fromtimestamp(hall.now, dt.UTC).date() + dt.timedelta(days=365)
        assert [(row.side.value, row.entry, row.scope, row.by, row.until) for row in rows] == [
            ("block", "from@one.example", ANN, ANN, last.isoformat())
        ]
        assert all(name.startswith("__Host-") for name in browser.cookies)
        assert (await browser.post("/act", {"csrf": csrf, "act": "end"})).status == 200
        assert (await browser.get(f"/m/{item}")).status == 401

    in_hall(tmp_path, work)


def test_a_session_ends_and_none_renews_itself(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.put()
        browser, _ = await hall.opened()
        (credential,) = browser.cookies.values()
        with pytest.raises(ControlError, match="link only"):
            await hall.call("own.begin", {}, credential=credential)
        hall.now += 3601
        assert (await browser.get("/")).status == 401

    in_hall(tmp_path, work)


def test_no_account_and_no_token_of_accounts_opens_these_pages_and_no_role_has_their_right() -> None:
    assert not any(Right.OWN in rights for rights in RIGHTS_OF.values())


def test_reports_only_where_they_are_taken(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        item = hall.put()
        own = msgspec.structs.replace(hall.config.user_quarantine, reports=False)
        hall.config = msgspec.structs.replace(hall.config, user_quarantine=own)
        browser, csrf = await hall.opened()
        assert "It is wanted" not in (await browser.get("/")).text
        assert (await browser.post("/act", {"csrf": csrf, "act": "wanted", "item": item})).status == 403
        assert hall.content.asked == []

    in_hall(tmp_path, work)


def test_other_hosts_are_refused_and_links_name_ours(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        assert (await Browser(hall.app, host="evil.example", scheme="https").get("/")).status == 421
        assert _host_names(hall.config) == ("spam.example.org", "gw.example.org")

    in_hall(tmp_path, work)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("ru", "ru"),
        ("de, ru;q=0.5, en;q=0.4", "ru"),
        ("en-GB,ru;q=0.9", "en"),
        ("ru;q=0", "en"),
        ("ru;q=x", "en"),
        ("," * 1000, "en"),
    ],
)
def test_languages(accepted: str, language: str) -> None:
    assert choose_language(accepted) == language


def test_pages_speak_russian(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.put()
        shown = await hall.browser().get(f"/l/{hall.link(Verb.OPEN)}", **{"accept-language": "ru"})
        assert 'lang="ru"' in shown.text
        assert "Открыть страницу" in shown.text

    in_hall(tmp_path, work)


# --- digests


def test_digests_tell_each_of_their_own_once_and_only_of_what_is_new(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        await hall.digests.look()  # from now on is new
        hall.now = next_morning(hall.now)
        hall.put(ANN, BOB, subject="to both", at=hall.now - 3600)
        hall.put(ANN, subject="to ann", at=hall.now - 3000)
        hall.put("list@example.org", ANN, subject="to a list", at=hall.now - 2000)
        await hall.digests.look()
        told = {mail["to"][0]: mail["text"] for mail in hall.mails}
        assert set(told) == {ANN, BOB}
        assert "to ann" in told[ANN]
        assert "to ann" not in told[BOB]
        assert ANN not in told[BOB]
        assert {mail["role"] for mail in hall.mails} == {"recipient"}
        links = [re.findall(r"/l/([\w-]+)", text) for text in told.values()]
        assert len({link for each in links for link in each}) == 3 * 3 + 1 + 3 + 1
        hall.mails.clear()
        hall.now += DAY
        await hall.digests.look()
        assert hall.mails == [], "nothing is new"
        hall.put(BOB, subject="late", at=hall.now - 5)
        hall.now += DAY
        await hall.digests.look()
        assert [mail["to"] for mail in hall.mails] == [(BOB,)]

    in_hall(tmp_path, work, 'digest_times = ["8:00"]\n')


def next_morning(now: float) -> float:
    day = dt.datetime.fromtimestamp(now).astimezone() + dt.timedelta(days=1)
    return day.replace(hour=8, minute=1, second=0).timestamp()


def test_digests_go_on_where_they_were_broken_off(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        await hall.digests.look()
        hall.now += 2 * DAY
        people = [f"p{number}@example.org" for number in range(5)]
        for each in people:
            hall.put(each)
        real, sent = hall._announce, []

        async def failing(**mail: Any) -> str:
            if len(sent) == 2:
                raise ControlError("no relay takes mail of ours now")
            sent.append(mail["to"][0])
            return await real(**mail)

        hall.digests = Digests(hall.state, lambda: hall.config, failing, lambda *_: None, hall.clock)
        with pytest.raises(ControlError):
            await hall.digests.look()
        run = hall.state.run_of("policy")
        assert run is not None
        assert not run.done
        hall.put("new@example.org")
        hall.now += 60
        hall.digests = Digests(hall.state, lambda: hall.config, real, lambda *_: None, hall.clock)  # after a restart
        await hall.digests.look()
        assert sorted(mail["to"][0] for mail in hall.mails) == sorted([*people, "new@example.org"])
        assert hall.state.run_of("policy") == Run(run.since, run.until, done=True)

    in_hall(tmp_path, work)


def test_what_was_just_told_is_not_told_again(tmp_path: Path) -> None:
    """A run looks back a little behind the end of the last one: for what came into the store late, not for the rest."""

    async def work(hall: Hall) -> None:
        await hall.digests.look()
        hall.now += 2 * DAY
        hall.put(subject="told")
        assert await hall.digests.send_now() == 1
        hall.put(subject="late", at=hall.now - 60)
        hall.now += 60
        assert await hall.digests.send_now() == 1
        assert "told" not in hall.mails[1]["text"].partition("Subject:")[2].partition("Each link")[0]
        assert "late" in hall.mails[1]["text"]

    in_hall(tmp_path, work)


def test_a_clock_that_was_wrong_does_not_silence_digests(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.state.put_run("policy", Run(0, hall.now + 400 * DAY, done=True))
        await hall.digests.look()
        hall.now += 2 * DAY
        hall.put()
        await hall.digests.look()
        assert len(hall.mails) == 1

    in_hall(tmp_path, work)


def test_what_was_kept_under_a_clock_that_was_ahead_is_told_once_when_it_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def subjects(hall: Hall) -> list[str]:
        found = [re.findall(r"spam-\w+", mail["text"]) for mail in hall.mails]
        hall.mails.clear()
        return sorted(subject for each in found for subject in each)

    async def work(hall: Hall) -> None:
        monkeypatch.setattr(clock, "is_believed", lambda: False)
        right = hall.now
        await hall.digests.look()
        hall.now += 30 * DAY
        hall.put(subject="spam-first")
        await hall.digests.look()
        hall.now += DAY
        hall.put(subject="spam-second")
        await hall.digests.look()
        assert subjects(hall) == ["spam-first", "spam-second"]
        hall.put(subject="spam-untold")
        monkeypatch.setattr(clock, "is_believed", lambda: True)
        hall.now = right + DAY
        await hall.digests.look()
        hall.put(subject="spam-after")
        hall.now += DAY
        await hall.digests.look()
        assert subjects(hall) == ["spam-after", "spam-untold"]
        hall.now += DAY
        await hall.digests.look()
        hall.now = right + 40 * DAY
        await hall.digests.look()
        assert subjects(hall) == []
        assert await hall.digests.send_now(days=39) == 1

    in_hall(tmp_path, work)


def test_a_run_broken_off_under_a_clock_that_was_ahead_goes_on(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.put(subject="waits", at=hall.now - 2 * DAY)
        hall.state.put_run("policy", Run(hall.now - 3 * DAY, hall.now + 400 * DAY, done=False))
        await hall.digests.look()
        assert len(hall.mails) == 1
        run = hall.state.run_of("policy")
        assert run is not None
        assert run.done
        assert run.until == hall.now

    in_hall(tmp_path, work)


def test_a_run_that_was_broken_off_is_ended_before_one_that_is_ordered(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        await hall.digests.look()
        hall.now += 2 * DAY
        hall.put(subject="broken off", at=hall.now - DAY)
        hall.refuse = "no relay takes mail of ours now"
        with pytest.raises(ControlError):
            await hall.digests.look()
        hall.refuse = ""
        hall.now += DAY
        assert await hall.digests.send_now() == 1
        assert "broken off" in hall.mails[0]["text"]
        assert await hall.digests.send_now() == 0

    in_hall(tmp_path, work)


def test_of_a_flood_the_newest_are_told(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        for number in range(9):
            hall.put(subject=f"number {number}", at=hall.now - 1000 + number)
        assert await hall.digests.send_now(days=1) == 1
        text = hall.mails[0]["text"]
        assert re.findall(r"number (\d)", text) == ["8", "7", "6"]
        assert "on the page: 6" in text

    in_hall(tmp_path, work, "digest_items = 3\n")


def test_switched_off_nothing_is_sent(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.put()
        own = msgspec.structs.replace(hall.config.user_quarantine, enabled=False)
        hall.config = msgspec.structs.replace(hall.config, user_quarantine=own)
        await hall.digests.look()
        assert hall.state.run_of("policy") is None
        with pytest.raises(ControlError, match="enabled is off"):
            await hall.digests.send_now()

    in_hall(tmp_path, work)


# --- links that are asked for


def test_asking_tells_nothing_and_writes_to_nobody_else(tmp_path: Path) -> None:
    async def work(hall: Hall) -> None:
        hall.put(ANN)
        browser = hall.browser()
        answers = [
            await browser.post("/ask", {"address": each}, origin="null")
            for each in (ANN, "nobody@example.org", "list@example.org", "x", "")
        ]
        assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
        await asyncio.gather(*hall.requests.under_way)
        assert [mail["to"] for mail in hall.mails] == [(ANN,)]
        await browser.post("/ask", {"address": ANN.upper()}, origin="null")
        await asyncio.gather(*hall.requests.under_way)
        assert len(hall.mails) == 1, "one in five minutes"

    in_hall(tmp_path, work)


def test_how_often_may_be_asked() -> None:
    requests = Requests()
    assert [requests.allows(f"a{n}@b.example", "192.0.2.1", NOW) for n in range(CLIENT_TRIES + 1)] == [
        True
    ] * CLIENT_TRIES + [False]
    assert requests.allows("other@b.example", "192.0.2.2", NOW)
    assert requests.allows("more@b.example", "192.0.2.1", NOW + CLIENT_WINDOW_S)
    same_network = [requests.allows(f"b{n}@b.example", f"2001:db8::{n:x}", NOW) for n in range(CLIENT_TRIES + 1)]
    assert not same_network[-1]
    total = Requests()
    assert (
        sum(total.allows(f"{n}@b.example", f"10.0.{n // 250}.{n % 250}", NOW) for n in range(ALL_TRIES + 50))
        == ALL_TRIES
    )
