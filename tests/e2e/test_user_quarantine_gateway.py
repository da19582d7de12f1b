"""The quarantine of recipients on a gateway: spam comes, a digest goes out, a link opens a page, its form releases the
mail, once; the page of the one address, in a real browser.

One gateway for all.
"""

import email
import email.policy
import http.client
import re
import urllib.parse
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from tests.support.browser import PHONE, Tab, open_browser
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
SETTINGS = """
[antispam]
preset = "recommended"

[user_quarantine]
enabled = true
listen = ["127.0.0.1:{port}"]
url = "http://localhost:{port}"
reports = true

[[group]]
name = "staff"
recipients = ["*@example.org"]
action_spam = ["block", "quarantine"]
user_quarantine = true
digest_never = ["list@example.org"]
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink, port: int) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("own")
    with Gateway(state, sink.port, antispam=True, settings=SETTINGS.format(port=port)) as running:
        wait_for(lambda: running.ask("user_quarantine.status")["up"], "the pages")
        yield running


def spam(gateway: Gateway, subject: str, *recipients: str, sender: str = "sender@example.net") -> str:
    """Have a spam mail kept; return the item's id."""
    queue_id = gateway.send(plain(subject, GTUBE + "\r\n"), list(recipients), sender)
    found = wait_for(lambda: gateway.ask("stores.of", queue_id=queue_id), "the mail in the quarantine")
    return str(found[0]["id"])


def digest_to(sink: Sink, address: str, words: str) -> EmailMessage:
    """The mail to an address in which some words stand."""

    def look() -> EmailMessage | None:
        for mail in sink.mails:
            if mail.recipients == [address] and mail.sender == "":
                parsed = email.message_from_bytes(mail.content, policy=email.policy.default)
                assert isinstance(parsed, EmailMessage)
                if words in text_of(parsed):
                    return parsed
        return None

    return wait_for(look, f"a digest to {address}")


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def links(mail: EmailMessage) -> list[str]:
    return re.findall(r"http://localhost:\d+(/l/[\w-]+)", text_of(mail))


def ask(port: int, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    fields = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    connection.request(method, path, body or None, {"Host": f"localhost:{port}", **fields, **headers})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer


def post(port: int, path: str, **form: str) -> tuple[int, str, http.client.HTTPResponse]:
    return ask(port, "POST", path, urllib.parse.urlencode(form), Origin="null", **{"Sec-Fetch-Site": "same-origin"})


def delivered(sink: Sink, subject: str, address: str) -> int:
    return sum(
        1 for mail in sink.mails if mail.recipients == [address] and f"Subject: {subject}".encode() in mail.header
    )


def test_from_spam_to_release(gateway: Gateway, sink: Sink, port: int) -> None:
    """Only the form acts, once; the mail goes to the one who released it."""
    item = spam(gateway, "kept back", "ann@example.org", "bob@example.org", "list@example.org")
    assert gateway.ask("digests.send")["sent"] == 2
    assert gateway.command("digests").stdout == "0 sent\n", "nothing is new"
    mail = digest_to(sink, "ann@example.org", "kept back")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "bob" not in str(mail)
    release, allow, block, page = links(mail)
    assert set(links(digest_to(sink, "bob@example.org", "kept back"))).isdisjoint((release, allow, block, page))

    for method in ("GET", "HEAD", "OPTIONS"):  # a scanner follows every link of the mail
        for link in (release, allow, block, page):
            status, text, answer = ask(port, method, link)
            assert answer.getheader("Referrer-Policy") == "no-referrer" or status == 204
            assert method != "GET" or "Set-Cookie" not in str(answer.headers)
            assert method != "HEAD" or (status, text) == (200, ""), "what follows links must not take them for broken"
    assert gateway.ask("stores.show", item=item)["released"] is False
    assert gateway.ask("lists.show")["rows"] == []

    status, text, answer = ask(port, "GET", release)
    assert status == 200
    assert "script-src" not in str(answer.getheader("Content-Security-Policy"))
    form = re.search(r'name="form" value="(\w+)"', text)
    assert form
    assert post(port, release)[0] == 403, "the form of the page is missing"
    assert post(port, release, form="0" * 32)[0] == 403
    assert ask(port, "POST", release, f"form={form[1]}", Origin="http://evil.example")[0] == 403
    assert gateway.ask("stores.show", item=item)["released"] is False
    assert post(port, release, form=form[1])[0] == 200
    wait_for(lambda: delivered(sink, "kept back", "ann@example.org"), "the released mail")
    assert post(port, release, form=form[1])[0] == 409
    assert ask(port, "GET", release)[0] == 410
    assert delivered(sink, "kept back", "ann@example.org") == 1
    assert delivered(sink, "kept back", "bob@example.org") == 0

    entry = next(each for each in gateway.ask("audit.list", limit=50) if each["call"] == "own.release")
    assert (entry["who"], entry["via"]) == ("ann@example.org", "user")
    told = gateway.log() + str(gateway.ask("audit.list", limit=50))
    assert not any(link.rpartition("/")[2] in told for link in (release, allow, block, page))


def test_malware_and_what_was_not_scanned_is_nobodys(gateway: Gateway, sink: Sink) -> None:
    """Mail that is both spam and infected is told of to nobody."""
    content = with_attachment(EICAR, subject="both at once").replace(b"See the file.", GTUBE.encode())
    queue_id = gateway.send(content, "eve@example.org")
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the verdict")
    spam(gateway, "only spam", "eve@example.org")
    assert gateway.ask("digests.send")["sent"] == 1
    assert "both at once" not in text_of(digest_to(sink, "eve@example.org", "only spam"))


def test_the_page_in_a_browser(gateway: Gateway, sink: Sink, port: int) -> None:
    """Link, button, list, message in its frame, block, release; hostile words are only words."""
    spam(gateway, HOSTILE, "dee@example.org", sender="block.me@example.net")
    spam(gateway, "another one", "dee@example.org")
    assert gateway.ask("digests.send")["sent"] == 1
    mail = digest_to(sink, "dee@example.org", "another one")
    assert "<script>" not in text_of(mail, "html")
    with (
        open_browser() as browser,
        Tab(browser, f"http://localhost:{port}", size=PHONE) as phone,
        Tab(browser, f"http://localhost:{port}", scripts=False) as tab,
    ):
        phone.go("/", 200)
        phone.audit()
        tab.go(links(mail)[-1])
        tab.page.get_by_role("button", name="Open the page").click()
        tab.page.get_by_text(HOSTILE).wait_for()
        phone.context.add_cookies(tab.context.cookies())  # type: ignore[arg-type]
        phone.go("/")
        phone.audit()
        assert phone.overflow() <= 0
        tab.page.get_by_role("link", name=HOSTILE).click()
        tab.page.frame_locator("iframe").get_by_text("TEST-EMAIL").wait_for()
        tab.page.get_by_role("button", name="Block the sender").click()
        tab.page.get_by_text("kept away from you").wait_for()
        rows = gateway.ask("lists.show")["rows"]
        assert [(row["side"], row["entry"], row["scope"]) for row in rows] == [
            ("block", "block.me@example.net", "dee@example.org")
        ]
        assert rows[0]["until"]
        tab.page.locator("tr", has_text="another one").get_by_role("button", name="Release").click()
        tab.page.get_by_text("delivered to you").wait_for()
        tab.page.get_by_role("button", name="Close the page").click()
        tab.page.get_by_text("The page is closed").wait_for()
        tab.go("/")
        tab.page.get_by_role("button", name="Ask for a link").wait_for()
        tab.page.get_by_label("Your address").fill("dee@example.org")
        tab.page.get_by_role("button", name="Ask for a link").click()
        tab.page.get_by_text("on its way").wait_for()
    wait_for(lambda: delivered(sink, "another one", "dee@example.org"), "the released mail")
    digest_to(sink, "dee@example.org", "has asked the mail gateway")
