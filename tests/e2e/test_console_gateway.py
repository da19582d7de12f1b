"""The console of a running gateway: behind sign-in, killed and back, never in the way of mail; its calls, each with the
right it needs; a passkey in a real browser.

One gateway for all.
"""

import contextlib
import os
import re
import signal
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import Tab, open_browser
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.visit import Visit
from tests.support.waiting import wait_for

from gatepost.console.protocol import CONNECTIONS_EACH

PASSWORD = "correct horse battery"
MAIL = b"Subject: hello\r\n\r\nbody\r\n"

CALLS = {
    "account.passkey_add": "self audited",
    "account.passkey_begin": "self",
    "account.passkey_remove": "self audited",
    "account.password": "self audited",
    "account.show": "self",
    "account.totp_begin": "self",
    "account.totp_confirm": "self audited",
    "account.totp_end": "self audited",
    "accounts.add": "accounts audited",
    "accounts.add_token": "accounts audited",
    "accounts.change": "accounts audited",
    "accounts.end_sessions": "accounts audited",
    "accounts.forget_second": "accounts audited",
    "accounts.list": "accounts",
    "accounts.password": "accounts audited",
    "accounts.remove": "accounts audited",
    "accounts.remove_token": "accounts audited",
    "accounts.show": "accounts",
    "act": "queue audited",
    "audit.list": "audit",
    "audit.verify": "audit",
    "bypass.off": "emergency audited",
    "bypass.on": "emergency audited",
    "bypass.status": "view",
    "calls": "view",
    "configuration.apply": "configure audited",
    "configuration.check": "configuration",
    "configuration.default": "configure audited",
    "configuration.draft": "configure",
    "configuration.history": "configuration",
    "configuration.reset": "configure",
    "configuration.rollback": "configure audited",
    "configuration.schema": "configuration",
    "configuration.values": "configuration",
    "console.status": "view",
    "console.up": "none",
    "databases.rollback": "service audited",
    "databases.show": "view",
    "databases.update": "service audited",
    "digests.send": "service audited",
    "export": "content audited",
    "learning": "learn audited",
    "learning.recent": "learn",
    "learning.status": "learn",
    "learning.undo": "learn audited",
    "licence.add": "configure audited",
    "licence.check": "configure",
    "licence.check_removal": "configure",
    "licence.remove": "configure audited",
    "licence.show": "view",
    "lists.add": "lists audited scoped",
    "lists.add_many": "lists audited scoped",
    "lists.remove": "lists audited scoped",
    "lists.show": "lists scoped",
    "log.tail": "log",
    "metrics": "view",
    "metrics.open": "none",
    "pause": "queue audited",
    "problems": "view",
    "profiles.check": "configuration",
    "profiles.draft": "configure",
    "profiles.export": "configuration",
    "profiles.history": "configuration",
    "profiles.import": "configure",
    "profiles.one": "configuration",
    "profiles.reset": "configure",
    "profiles.rollback": "configure audited",
    "profiles.save": "configure audited",
    "profiles.show": "configuration",
    "queue": "track scoped",
    "readiness": "none",
    "queue.content": "content audited",
    "queue.preview": "content audited",
    "release": "quarantine audited",
    "reload": "service audited",
    "reloadbases": "service audited",
    "samples.add": "configure audited",
    "samples.compile": "configure audited",
    "samples.remove": "configure audited",
    "samples.show": "configuration",
    "session.begin": "none",
    "session.end": "self audited",
    "session.first": "none",
    "session.first_code": "accounts",
    "session.list": "self",
    "session.second": "none",
    "session.show": "none",
    "session.state": "none",
    "shadow.list": "configuration",
    "show": "track scoped",
    "statistics": "view",
    "stats": "service",
    "status": "view",
    "stop": "service audited",
    "stores.act": "quarantine audited scoped",
    "stores.allow": "lists audited scoped",
    "stores.block": "lists audited scoped",
    "stores.delete": "quarantine audited scoped",
    "stores.export": "content audited scoped",
    "stores.list": "track scoped",
    "stores.of": "track scoped",
    "stores.places": "track scoped",
    "stores.preview": "content audited scoped",
    "stores.release": "quarantine audited scoped",
    "stores.report": "learn audited scoped",
    "stores.show": "track scoped",
    "summary": "view",
    "switch": "service audited",
    "terms.check": "configuration",
    "terms.history": "configuration",
    "terms.rollback": "configure audited",
    "terms.save": "configure audited",
    "terms.show": "configuration",
    "texts.check": "configuration",
    "texts.history": "configuration",
    "texts.list": "configuration",
    "texts.reset": "configure audited",
    "texts.rollback": "configure audited",
    "texts.save": "configure audited",
    "texts.show": "configuration",
    "tokens.add": "self audited",
    "tokens.list": "self",
    "tokens.remove": "self audited",
    "tracking.counts": "track scoped",
    "tracking.mail": "track scoped",
    "tracking.search": "track scoped",
    "tracking.series": "view",
    "tracking.status": "view",
    "user_quarantine.status": "view",
}
"""Every call that can be made: the right it needs, whether it is written to the audit log, whether it looks at a
caller's domains itself. A call that joins them, or changes its right, is a decision, made here.
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("console"), sink.port, console=True) as gateway:
        wait_for(lambda: gateway.ask("console.status")["up"], "the console to run")
        gateway.ask("accounts.add", name="ada", role="admin", password=PASSWORD)
        yield gateway


@pytest.fixture
def visit(gateway: Gateway) -> Visit:
    return Visit(gateway.console_port)


def answers(visit: Visit) -> bool:
    try:
        return visit.ask("GET", "/healthz")[0] == 200
    except OSError:
        return False


@pytest.mark.feature("F-WEB-07")
def test_without_a_password_there_is_401(visit: Visit) -> None:
    for path in ("/", "/tracking", "/queue", "/quarantine", "/reports", "/log", "/accounts", "/audit", "/account"):
        status, text, fields = visit.ask("GET", path)
        assert status == 401, path
        assert fields["WWW-Authenticate"]
        assert 'type="password"' in text
    assert visit.ask("POST", "/sign-in", {"name": "ada", "password": "wrong"})[0] == 401
    assert visit.ask("GET", "/reports")[0] == 401
    visit.sign_in("ada", PASSWORD)
    assert visit.ask("GET", "/reports")[0] == 200


def test_every_call_is_in_the_table(gateway: Gateway) -> None:
    found = {
        name: " ".join([row["right"], *(word for word in ("audited", "scoped") if row[word])])
        for name, row in gateway.ask("calls").items()
    }
    assert found == CALLS


def test_the_console_is_walled_in(gateway: Gateway) -> None:
    status = gateway.ask("console.status")
    assert status["walls_missing"] == []
    facts = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{status['pid']}/status").read_text().splitlines() if ":\t" in line
    )
    assert facts["Seccomp"] == "2"
    assert facts["NoNewPrivs"] == "1"


def test_killed_it_comes_back_and_nobody_must_sign_in_again(gateway: Gateway, sink: Sink, visit: Visit) -> None:
    visit.sign_in("ada", PASSWORD)
    before = gateway.ask("console.status")
    os.kill(before["pid"], signal.SIGKILL)
    had = len(sink.mails)
    gateway.send(MAIL)
    wait_for(lambda: len(sink.mails) > had, "mail to go through without a console")
    wait_for(lambda: gateway.ask("console.status")["pid"] not in {0, before["pid"]}, "another console")
    wait_for(lambda: answers(visit), "it to answer")
    assert visit.ask("GET", "/account")[0] == 200
    assert gateway.ask("console.status")["restarts"] == before["restarts"] + 1


def test_a_taken_port_is_told_and_had_later(gateway: Gateway, sink: Sink, visit: Visit) -> None:
    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that has ended may linger
        other.bind(("127.0.0.1", port))
        other.listen()
        gateway.edit(
            f'listen = ["127.0.0.1:{gateway.console_port}"]',
            f'listen = ["127.0.0.1:{gateway.console_port}", "127.0.0.1:{port}"]',
        )
        gateway.ask("reload")
        status = gateway.ask("console.status")
        assert any(str(port) in trouble for trouble in status["troubles"])
        assert any(str(port) in line for line in gateway.lines("cannot listen"))
        had = len(sink.mails)
        gateway.send(MAIL)
        wait_for(lambda: len(sink.mails) > had, "mail to go through")
        wait_for(lambda: answers(visit), "the other address to answer")
    gateway.ask("reload")
    assert gateway.ask("console.status")["troubles"] == []
    wait_for(lambda: answers(Visit(port)), "the new address to answer")


def test_a_client_that_dawdles_or_babbles_disturbs_nobody(gateway: Gateway, visit: Visit) -> None:
    with socket.create_connection(("127.0.0.1", gateway.console_port), timeout=120) as slow:
        slow.sendall(b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\n")
        for babble in (
            b"\x16\x03\x01\x00\xa5\x01\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            b"A" * 200_000,
            b"GET /\0 HTTP/1.1\r\n\r\n",
        ):
            with (
                socket.create_connection(("127.0.0.1", gateway.console_port), timeout=120) as client,
                contextlib.suppress(OSError),  # it may have had enough of us before all is sent
            ):
                client.sendall(babble)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
        assert answers(visit)
    assert "Traceback" not in gateway.log()


def test_a_client_that_takes_all_it_can_get_leaves_room_for_others(gateway: Gateway, visit: Visit) -> None:
    place = ("127.0.0.1", gateway.console_port)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS_EACH):
            held = stack.enter_context(socket.create_connection(place, timeout=120, source_address=("127.0.0.9", 0)))
            held.sendall(b"GET / HTTP/1.1\r\n")  # and never ends
        one_more = stack.enter_context(socket.create_connection(place, timeout=120, source_address=("127.0.0.9", 0)))
        with contextlib.suppress(ConnectionError):
            assert one_more.recv(1) == b""
        assert answers(visit)


def test_acts_of_the_command_line_and_of_people_are_in_the_audit_log(gateway: Gateway, visit: Visit) -> None:
    visit.sign_in("ada", PASSWORD)
    text = visit.ask("GET", "/accounts")[1]
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found
    assert (
        visit.ask("POST", "/accounts", {"csrf": found[1], "name": "eve", "role": "operator", "domains": ""})[0] == 200
    )
    gateway.command("account", "disable", "eve")
    entries = gateway.ask("audit.list", call="accounts", limit=2)
    assert [(one["who"], one["via"], one["call"]) for one in entries][1] == ("ada", "console", "accounts.add")
    assert entries[0]["via"] == "cli"
    assert entries[0]["call"] == "accounts.change"
    shown = gateway.command("audit", "--act", "accounts").stdout
    assert "ada (console 127.0.0.1) accounts.add name=eve" in shown
    assert gateway.command("audit", "verify").returncode == 0
    file = next((gateway.state / "audit").iterdir())
    kept = file.read_bytes()
    file.write_bytes(kept.replace(b'"name":"eve"', b'"name":"bob"'))
    assert gateway.command("audit", "verify").returncode == 4
    file.write_bytes(kept)


def test_a_passkey_as_second_step_in_a_real_browser(gateway: Gateway) -> None:
    gateway.ask("accounts.add", name="kay", role="read-only", password=PASSWORD)
    with open_browser() as browser, Tab(browser, f"http://localhost:{gateway.console_port}") as tab:
        tab.sign_in("kay", PASSWORD)
        devtools = tab.context.new_cdp_session(tab.page)
        devtools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        tab.go("/account")
        tab.page.locator("#k-name").fill("laptop")
        tab.page.locator("#k-password").fill(PASSWORD)
        late: list[Any] = []
        hold = lambda route: late.append(route)  # noqa: E731, PLW0108 - it gets an attribute
        tab.page.route("**/passkeys*.js*", hold, times=1)
        tab.page.get_by_role("button", name="Add a passkey").click()
        make = tab.page.get_by_role("button", name="Make it")
        wait_for(lambda: make.is_visible() and late, "a page whose script is late")
        assert make.is_disabled()  # who clicks before the script is there does not click in vain
        late[0].continue_()
        make.click()
        tab.page.wait_for_url("**/account")
        assert tab.flash() == "The passkey is added."
        tab.audit()

        tab.page.get_by_role("button", name="Sign out").click()
        tab.page.wait_for_url("**/sign-in")
        tab.page.get_by_label("Name").fill("kay")
        tab.page.get_by_label("Password", exact=True).fill(PASSWORD)
        tab.page.get_by_role("button", name="Sign in").click()
        tab.page.get_by_role("button", name="Use your passkey").wait_for()
        assert not [cookie for cookie in tab.context.cookies() if cookie["name"] == "gatepost"]
        tab.audit()
        tab.page.get_by_role("button", name="Use your passkey").click()
        tab.page.wait_for_url(lambda url: urllib.parse.urlsplit(url).path == "/")
        assert gateway.ask("accounts.show", name="kay")["passkeys"] == 1
        assert gateway.ask("audit.list", call="session.second", limit=1)[0]["who"] == "kay"
