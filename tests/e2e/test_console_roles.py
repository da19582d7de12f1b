"""The console as each role has it: all that is shown can be followed and pressed, and nobody with domains of their own
reads of others'.
"""

import re
from collections.abc import Iterator

import pytest
from tests.support.crawl import Crawl
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import Sink
from tests.support.visit import Visit
from tests.support.waiting import wait_for

PASSWORD = "correct horse battery"
ROLES = ("admin", "operator", "quarantine", "read-only")
OURS, THEIRS = "ours.example", "theirs.example"
FOREIGN = re.compile(r"[\w-]+@theirs\.example|secret of theirs")
NOT_PRESSED = ("/sign-out", "/service", "/account")
"""What ends the visit, or the gateway."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        Sink() as sink,
        Gateway(
            tmp_path_factory.mktemp("roles"),
            sink.port,
            console=True,
            replace={'protected_domains = ["example.org"]': f'protected_domains = ["{OURS}", "{THEIRS}"]'},
        ) as gateway,
    ):
        for domain in (OURS, THEIRS):
            word = "secret of theirs" if domain == THEIRS else "word of ours"
            gateway.send(with_attachment(EICAR, "e.com", f"{word} 1"), f"kept@{domain}")
            gateway.send(plain(f"{word} 2"), f"sent@{domain}")
            gateway.send(plain("to both"), [f"both@{domain}" for domain in (OURS, THEIRS)])
            gateway.ask("lists.add", list="block", entry=f"pest@{domain}", scope=domain, expires="", note=word)
        wait_for(lambda: len(sink.mails) == 4, "mail to be delivered")
        gateway.command("send-off")
        for domain in (OURS, THEIRS):
            gateway.send(plain("waiting"), f"waiting@{domain}")
        wait_for(lambda: gateway.ask("console.status")["up"], "the console to run")
        yield gateway


def sign_in(gateway: Gateway, role: str, *domains: str) -> Visit:
    name = f"{role}-{len(domains)}"
    gateway.ask("accounts.add", name=name, role=role, password=PASSWORD, domains=list(domains))
    visit = Visit(gateway.console_port)
    visit.sign_in(name, PASSWORD)
    return visit


@pytest.mark.parametrize(
    ("role", "domains"), [*((role, ()) for role in ROLES), *((role, (OURS,)) for role in (*ROLES[1:], "domain"))]
)
def test_all_that_is_shown_can_be_followed_and_pressed(gateway: Gateway, role: str, domains: tuple[str, ...]) -> None:
    crawl = Crawl(sign_in(gateway, role, *domains))
    assert crawl.dead_ends == []
    assert len(crawl.pages) > 40
    told = [(path, found[0]) for path, text in crawl.pages.items() if (found := FOREIGN.search(text))]
    assert bool(told) == (not domains), told
    assert any(f"waiting@{OURS}" in text for text in crawl.pages.values())
    if role != "admin":  # who may do everything
        assert crawl.press(NOT_PRESSED) == []
