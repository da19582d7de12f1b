"""Mail in a real browser: hostile mail is looked at, nothing of it runs, loads or leads anywhere; and an administrator's
ways through tracking, queue and quarantine.
"""

import base64
import http.server
import re
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, StorageState
from tests.support.browser import PASSWORD, PHONE, Tab
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.console.pages.preview import FRAME_HEADERS
from gatepost.console.security import POLICY

HOSTILE = (
    "<script>fetch('@/script')</script><img src='@/img' onerror=\"fetch('@/onerror')\">"
    "<style>@import '@/import'; body{background:url(@/css)} @font-face{font-family:f;src:url(@/font)} p{font-family:f}</style>"
    "<p style='background:url(@/style)'>styled</p><p style='background:u\\72l(@/escape)'>escaped</p>"
    "<meta http-equiv=refresh content='0;url=@/refresh'><base href='@/'><link rel=stylesheet href='@/sheet'>"
    "<link rel=prefetch href='@/prefetch'><link rel=dns-prefetch href='//prefetch.example'><link rel=preload as=image href='@/preload'>"
    "<iframe src='@/iframe'></iframe><iframe srcdoc=\"<script>fetch('@/srcdoc')</script>\"></iframe>"
    "<object data='@/object'></object><embed src='@/embed'><video src='@/video' poster='@/poster'></video>"
    "<form action='@/form' id=f><input name=a><button>go</button></form><input type=image src='@/inputimage' form=f>"
    "<svg xmlns='http://www.w3.org/2000/svg' onload=\"fetch('@/svg')\"><image href='@/svgimage'/><use href='@/use#a'/></svg>"
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=@/mutation onerror=1&gt;'>"
    "</style></mglyph></table></mtext></math>-->"
    "<noscript><p title=\"</noscript><img src='@/noscript'>\"></p></noscript><template><img src='@/template'></template>"
    "<a href=\"javascript:fetch('@/javascript')\" autofocus>j</a><a href='data:text/html,<script>1</script>'>d</a>"
    "<a href='@/link' ping='@/ping'>link</a><table background='@/background'><tr><td background='@/cell'>t</td></tr></table>"
    "<img srcset='@/srcset 2x'><picture><source srcset='@/source'><img></picture><audio src='@/audio' autoplay></audio>"
    "<body onload=\"fetch('@/onload')\"><div style='position:fixed;inset:0;z-index:9'>over</div><p>the end of it</p>"
)  # fmt: skip
CHARSETS = ("utf-8", "utf-7", "iso-2022-jp", "utf-16")


class Listener:
    """A server on loopback that notes what it is asked for, and answers some of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pages: dict[str, tuple[bytes, dict[str, str]]] = {}
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.asked.append(self.path)
                body, headers = listener.pages.get(self.path, (b"", {}))
                self.send_response(200)
                for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def hostile(self) -> str:
        return HOSTILE.replace("@", self.address)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


class Post:
    """A gateway with hostile mail in its stores and in its queue."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.address = f"http://127.0.0.1:{gateway.console_port}"
        self.state: StorageState | None = None

    def tab(self, browser: Browser, **look: Any) -> Tab:
        return Tab(browser, self.address, state=self.state, **look)

    def item(self, queue_id: str, kind: str) -> str:
        """Return the item of a message in a kind of store."""
        found = wait_for(
            lambda: [each for each in self.gateway.ask("stores.of", queue_id=queue_id) if each["store"] == kind],
            f"{queue_id} in {kind}",
        )
        return str(found[0]["id"])


@pytest.fixture(scope="module")
def post(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    state = tmp_path_factory.mktemp("frames") / "gw"
    changes = {
        "[path]\n": f'[path]\nincoming_archive_path = "{state}/archive"\n',
        "[policy]\n": '[policy]\nsave_in_quarantine = ["infected"]\n',
    }
    with Sink() as sink, Gateway(state, sink.port, console=True, replace=changes) as gateway:
        gateway.ask("accounts.add", name="ann", role="admin", password=PASSWORD)
        gateway.ask("accounts.add", name="dora", role="domain", domains=["other.example"], password=PASSWORD)
        post = Post(gateway)
        with Tab(browser, post.address) as tab:
            tab.sign_in("ann")
            post.state = tab.state()
        yield post


def hostile_mail(html: str, charset: str = "utf-8") -> bytes:
    """A mail that is hostile in every place a page shows."""
    if charset == "utf-7":
        body = html.replace("+", "+-").replace("<", "+ADw-").replace(">", "+AD4-").encode()
    else:
        body = html.encode(charset)
    word = '"><img src=x onerror=alert(1)>'
    return (
        f"From: {word} <evil@attacker.example>\r\nTo: <user@example.org>\r\nSubject: hostile {charset} {word}\r\n"
        f"Message-ID: <{charset}.1@attacker.example>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/html; charset={charset}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + base64.encodebytes(body).replace(b"\n", b"\r\n") + (
        b'--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n'
        b' filename="<script>alert(1)</script>.exe"\r\n\r\nMZ\r\n--b--\r\n'
    )  # fmt: skip


def test_the_frame_holds_even_if_nothing_has_been_made_harmless(browser: Browser, listener: Listener) -> None:
    frame = f"<!doctype html><body>{listener.hostile()}".encode()
    parent = b"<!doctype html><title>parent</title><iframe sandbox src='/frame'></iframe>"
    listener.pages = {
        "/parent": (parent, {"Content-Security-Policy": POLICY}),
        "/frame": (frame, FRAME_HEADERS),
    }
    listener.asked.clear()
    with Tab(browser, listener.address) as tab:
        tab.expected = [""]  # the browser tells of everything that it does not do
        tab.page.goto("/parent")
        tab.page.frame_locator("iframe").get_by_text("the end of it").wait_for()
        tab.page.wait_for_load_state("networkidle")
        assert tab.page.title() == "parent"
        tab.page.goto("/frame")  # alone, in a window of its own
        tab.page.get_by_text("the end of it").wait_for()
        tab.page.wait_for_load_state("networkidle")
    asked = [path for path in listener.asked if path != "/favicon.ico"]
    assert asked == ["/parent", "/frame", "/frame"]


@pytest.mark.parametrize("charset", CHARSETS)
def test_hostile_mail_is_looked_at_and_nothing_happens(
    browser: Browser, post: Post, listener: Listener, charset: str
) -> None:
    queue_id = post.gateway.send(hostile_mail(listener.hostile(), charset), sender="evil@attacker.example")
    item = post.item(queue_id, "incoming")
    listener.asked.clear()
    with post.tab(browser) as tab:
        tab.page.on("dialog", lambda dialog: tab.complaints.append(f"dialog: {dialog.message}"))
        views = ("html", "text", "source") if charset == CHARSETS[0] else ("html",)
        for path in (f"/quarantine/{item}", "/quarantine?store=incoming"):
            tab.go(path)
        for view in views:
            tab.go(f"/quarantine/{item}/preview?view={view}")
            frame = tab.page.frame_locator("iframe.mail-frame")
            frame.get_by_text("script>.exe").first.wait_for()
            if view == "html":
                frame.get_by_text("the end of it").wait_for()
                assert (
                    frame.locator("script, iframe, form, object, embed, base, meta[http-equiv], svg, math").count() == 0
                )
                assert frame.locator("a[href], [src]:not(img[src^='data:'])").count() == 0
        tab.page.wait_for_load_state("networkidle")
        assert tab.page.url.startswith(post.address)
        if charset == CHARSETS[0]:
            tab.audit()
            assert tab.overflow() <= 0
    assert listener.asked == []


def test_the_original_is_saved_and_never_shown(browser: Browser, post: Post) -> None:
    content = plain(subject="as it came")
    item = post.item(post.gateway.send(content), "incoming")
    with post.tab(browser) as tab:
        tab.go(f"/quarantine/{item}")
        with tab.page.expect_download() as kept:
            tab.page.get_by_role("link", name="Download").click()
        assert kept.value.suggested_filename == f"{item}.eml"
        with open(kept.value.path(), "rb") as file:  # noqa: PTH123 - a path of the browser's
            assert b"Subject: as it came\r\n" in file.read()


@pytest.mark.parametrize("scripts", [True, False])
def test_malware_is_found_by_its_subject_released_and_deleted(browser: Browser, post: Post, scripts: bool) -> None:
    subject = f"infected {'with' if scripts else 'without'}"
    queue_id = post.gateway.send(with_attachment(EICAR, subject=subject))
    item = post.item(queue_id, "quarantine")
    with post.tab(browser, scripts=scripts) as tab:
        tab.go("/quarantine?store=quarantine")
        tab.page.get_by_label("Words").fill(subject)
        tab.page.get_by_role("button", name="Show").click()
        tab.page.get_by_role("link", name=subject).click()
        assert item in tab.page.inner_text("main")
        tab.page.get_by_role("button", name="Release", exact=True).click()
        if scripts:
            tab.page.locator("dialog").get_by_role("button", name="Release").click()
        else:
            tab.page.get_by_role("button", name="Release", exact=True).click()
        tab.page.get_by_role("button", name="Release malware").click()
        tab.page.wait_for_url(re.compile(f"/quarantine/{item}"))
        assert "1 message(s) released" in tab.flash()
        tab.go("/quarantine?store=quarantine")
        tab.page.locator(f"input[value='{item}'][name=id]").check()
        tab.page.get_by_role("button", name="Delete", exact=True).click()
        if scripts:
            dialog = tab.page.locator("dialog")
            assert "Delete 1 message(s) for good?" in dialog.inner_text()
            dialog.get_by_role("button", name="Delete").click()
        else:
            tab.page.get_by_role("button", name="Delete", exact=True).click()
        tab.page.locator(".flash").wait_for()
        assert "1 message(s) deleted" in tab.flash()
        assert tab.page.locator(f"input[value='{item}'][name=id]").count() == 0


def test_waiting_mail_is_found_held_and_removed(browser: Browser, post: Post) -> None:
    post.gateway.switch("send", on=False)
    try:
        queue_id = post.gateway.send(plain(subject="waits here"))
        wait_for(lambda: [row for row in post.gateway.queue() if row["queue_id"] == queue_id], "it in the queue")
        with post.tab(browser) as tab:
            tab.go("/queue")
            tab.audit()
            tab.page.get_by_role("link", name=queue_id).click()
            tab.page.get_by_label("Reason or next hop").fill("looks odd")
            tab.page.get_by_role("button", name="Hold").click()
            assert "1 message(s) held" in tab.flash()
            assert "looks odd" in tab.page.inner_text("main")
            tab.go(f"/tracking/{queue_id}")
            assert "It waits in the queue" in tab.page.inner_text("main")
            tab.audit()
            tab.go(f"/queue/{queue_id}/preview?view=text")
            tab.page.frame_locator("iframe.mail-frame").get_by_text("hello").wait_for()
            tab.go("/queue?state=HLD")
            tab.page.get_by_label(f"Choose {queue_id}").check()
            tab.page.get_by_role("button", name="Remove").first.click()
            tab.page.locator("dialog").get_by_role("button", name="Remove").click()
            tab.page.locator(".flash").wait_for()
            assert "1 message(s) removed" in tab.flash()
    finally:
        post.gateway.switch("send", on=True)


def test_the_life_of_a_mail_is_told_and_its_why(browser: Browser, post: Post) -> None:
    queue_id = post.gateway.send(with_attachment(EICAR, subject="why was it stopped"))
    post.item(queue_id, "quarantine")
    wait_for(lambda: post.gateway.ask("tracking.mail", id=queue_id)["mail"], "its records")
    with post.tab(browser) as tab:
        tab.go("/tracking")
        tab.page.locator("#find").get_by_label("Find", exact=True).fill("stopped")
        tab.page.locator("#find").get_by_role("button", name="Find").click()
        tab.page.get_by_role("link", name="why was it stopped").click()
        told = tab.page.inner_text("main")
        for piece in ("Accepted from 127.0.0.1", "Anti-virus for group", "infected", "Kept in quarantine", "EICAR"):
            assert piece in told, piece
        tab.audit()
        tab.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        assert tab.overflow() <= 0
        with tab.page.expect_download() as kept:
            tab.go("/tracking?q=stopped")
            tab.page.get_by_role("link", name="CSV").click()
        assert kept.value.suggested_filename.endswith(".csv")


def test_who_has_other_domains_sees_none_of_it(browser: Browser, post: Post) -> None:
    item = post.item(post.gateway.send(plain(subject="not theirs")), "incoming")
    with Tab(browser, post.address) as tab:
        tab.sign_in("dora")
        tab.go("/quarantine?store=incoming")
        assert "No messages" in tab.page.inner_text("main")
        tab.go(f"/quarantine/{item}", status=409)
        assert "no such stored message" in tab.page.inner_text("main")
        tab.go(f"/quarantine/{item}/frame", status=409)
        post.gateway.switch("send", on=False)
        try:
            queue_id = post.gateway.send(plain(subject="not theirs, and waits"))
            wait_for(lambda: [row for row in post.gateway.queue() if row["queue_id"] == queue_id], "it in the queue")
            tab.go("/queue")
            assert "Nothing waits for your domains" in tab.page.inner_text("main")
            assert queue_id not in tab.page.content()
        finally:
            post.gateway.switch("send", on=True)
