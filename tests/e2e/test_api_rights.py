"""Every operation of the interface for programs, asked for by every role on a running gateway: who may not, is refused, and
an account with domains of its own learns nothing of others' mail on any way.
"""

import html
import http.client
import re
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest
from tests.support.api import Answer, Api
from tests.support.contract import HURRY
from tests.support.gateway import Gateway
from tests.support.sink import Sink
from tests.support.visit import Visit
from tests.support.waiting import WAIT_S, wait_for

from gatepost.console.api.operation import Operation
from gatepost.console.api.table import OPERATIONS
from gatepost.control.rights import RIGHTS_OF, Right, Role

PASSWORD = "correct horse battery"
OURS, THEIRS = "example.org", "others.example"
SECRET = "zanzibar"
"""Stands in the mail of the others: in sender, subject and body."""
OTHERS = (SECRET, THEIRS)
NUMBERS = {"number": "1", "module": "send", "name": "none", "language": "en", "sort": "spam", "domain": THEIRS}
SEARCHES = frozenset({"tracking.search", "stores.list", "queue"})
PAGES = 150
"""Of the console, followed from the first one."""
LIMITED = [Role.DOMAIN, Role.READ_ONLY, Role.QUARANTINE, Role.OPERATOR, Role.ADMIN]


class Mail(NamedTuple):
    """A mail that waits for delivery and is in the archive."""

    id: str
    item: str


NOBODYS = Mail("0AM9M784C0ZZZ", "0AM9M784C0ZZZ-EDWDVN")


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("rights")
    changes = {
        f'protected_domains = ["{OURS}"]': f'protected_domains = ["{OURS}", "{THEIRS}"]',
        "[path]\n": f'[path]\nincoming_archive_path = "{state}/arch_in"\n',
    }
    gateway = Gateway(state, sink.port, console=True, replace=changes)
    gateway.edit(*HURRY)
    with gateway:
        wait_for(lambda: gateway.ask("console.status")["up"], "the console to run")
        gateway.switch("send", on=False)
        yield gateway


def token_of(gateway: Gateway, role: Role, *domains: str) -> Api:
    """Return a program with all rights of an account of this role."""
    name = f"{role.value}-{len(domains)}"
    if gateway.ask("accounts.show", check=False, name=name) is None:
        gateway.ask("accounts.add", name=name, role=role.value, domains=list(domains), password=PASSWORD)
    rights = sorted(RIGHTS_OF[role] - {Right.NONE, Right.SELF})
    return Api(gateway.console_port, gateway.ask("accounts.add_token", name=name, label="all", rights=rights)["token"])


def send(gateway: Gateway, domain: str) -> str:
    word = SECRET if domain == THEIRS else "plain"
    text = f"Subject: {word} one\r\nFrom: {word}@sender.example\r\nTo: user@{domain}\r\n\r\n{word}\r\n"
    return gateway.send(text.encode(), f"user@{domain}", sender=f"{word}@sender.example")


@pytest.fixture(scope="module")
def mails(gateway: Gateway) -> dict[str, Mail]:
    """One mail of ours and one of the others, by domain."""
    api = token_of(gateway, Role.ADMIN)
    told = {}
    for domain in (OURS, THEIRS):
        number = send(gateway, domain)
        wait_for(lambda: api.get(f"/mails?text={number}").json["items"], "it in tracking")  # noqa: B023
        (stored,) = wait_for(lambda: api.get(f"/mails/{number}/stored").json["items"], "it in the archive")  # noqa: B023
        told[domain] = Mail(number, stored["id"])
    return told


def ask(api: Api, operation: Operation, mail: Mail) -> Answer:
    values = {**NUMBERS, "id": mail.id, "item": mail.item}
    path = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "none"), operation.path)
    body = (operation.example or {}) if operation.body is not None else None
    return api.ask(operation.method, path, body, If_Match='"none"')


@pytest.mark.parametrize("role", list(Role)[:4])
def test_each_role_is_refused_what_it_has_no_right_to_and_sees_the_rest(
    gateway: Gateway, mails: dict[str, Mail], role: Role
) -> None:
    api = token_of(gateway, role)
    for operation in OPERATIONS:
        if operation.right not in RIGHTS_OF[role]:
            answer = ask(api, operation, mails[OURS])
            assert answer.status == 403, (operation.name, answer.body)
        elif not operation.acts and operation.right is not Right.SELF:
            answer = ask(api, operation, mails[OURS])
            assert answer.status in ({200, 404} if "{" in operation.path else {200}), (operation.name, answer.body)


@pytest.mark.parametrize("role", LIMITED)
def test_an_account_with_domains_sees_nothing_of_others(gateway: Gateway, mails: dict[str, Mail], role: Role) -> None:
    api = token_of(gateway, role, OURS)
    scoped = {name for name, row in gateway.ask("calls").items() if row["scoped"]}
    mine, other = mails[OURS], mails[THEIRS]
    seen = 0
    for operation in OPERATIONS:
        if operation.right in {Right.NONE, Right.SELF}:
            continue
        answer = ask(api, operation, other)
        told = answer.body.decode(errors="replace")
        hidden = (
            {SECRET} if answer.status >= 400 else {SECRET, THEIRS, other.id, other.item}
        )  # a refusal repeats the question
        assert not any(word in told for word in hidden), (operation.name, told)
        if operation.call not in scoped or operation.right not in RIGHTS_OF[role]:
            assert answer.status in {403, 404, 422}, (operation.name, told)
        elif "{id}" in operation.path or "{item}" in operation.path:
            assert answer.status == 404 or not answer.json.get("items"), (operation.name, told)
            unknown = ask(api, operation, NOBODYS)
            alike = unknown.body.decode().replace(NOBODYS.item, other.item).replace(NOBODYS.id, other.id)
            assert (unknown.status, alike) == (answer.status, told), "that there is such a mail is not told either"
            seen += not operation.acts and mine.id in ask(api, operation, mine).body.decode(errors="replace")
    assert seen
    for path, name in (("/mails", mine.id), ("/stored-mails", mine.item), ("/queue", mine.id)):
        assert name in api.get(path).body.decode()


@pytest.mark.parametrize("role", LIMITED)
def test_no_search_word_finds_mail_of_others(gateway: Gateway, mails: dict[str, Mail], role: Role) -> None:
    api = token_of(gateway, role, OURS)
    words = (SECRET, THEIRS, f"user@{THEIRS}", f"{SECRET}@sender.example", f"*{SECRET[:4]}*", mails[THEIRS].id)
    searches = [each for each in OPERATIONS if each.call in SEARCHES and "{" not in each.path]
    tried = 0
    for operation in searches:
        assert operation.query is not None
        for field in msgspec.structs.fields(operation.query):
            for word in words:
                answer = api.get(f"{operation.path}?{field.name}={urllib.parse.quote(word)}&limit=50")
                told = answer.body.decode()
                if answer.status != 422:  # this word is no value of this field
                    assert not any(each in told for each in (SECRET, THEIRS, mails[THEIRS].id)), (field.name, word)
                    tried += 1
    assert tried > 60
    both = (api, token_of(gateway, Role.ADMIN))
    totals = [each.get("/stored-mails?totals=true").json["totals"]["items"] for each in both]
    assert 0 < totals[0] < totals[1]
    counts = api.get("/reports/counts").body.decode()
    assert not any(each in counts for each in (SECRET, THEIRS))


@pytest.mark.parametrize("role", LIMITED)
def test_live_events_and_pages_tell_nothing_of_others(gateway: Gateway, mails: dict[str, Mail], role: Role) -> None:
    api = token_of(gateway, role, OURS)
    listening = http.client.HTTPConnection("127.0.0.1", gateway.console_port, timeout=WAIT_S)
    listening.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {api.token}"})
    stream = listening.getresponse()
    assert stream.status == 200
    stream.readline()  # it is looked after from now on
    theirs, ours = send(gateway, THEIRS), send(gateway, OURS)
    told = b""
    while ours.encode() not in told:
        told += stream.readline()
    listening.close()
    assert b"event: mail" in told
    assert not any(word.encode() in told for word in (SECRET, THEIRS, theirs, "event: status", "event: queue"))
    visit = Visit(gateway.console_port)
    visit.sign_in(f"{role.value}-1", PASSWORD)
    other = mails[THEIRS]
    places = ("/quarantine/{}", "/quarantine/{}/preview", "/quarantine/{}/frame", "/quarantine/{}/original")
    pages = [place.format(other.item) for place in places]
    pages += [place.replace("quarantine", "queue").format(other.id) for place in places]
    pages += [f"/tracking/{other.id}", f"/tracking?text={SECRET}", "/tracking/file.csv", "/tracking/file.json", "/"]
    seen: set[str] = set()
    while pages and len(seen) < PAGES:
        page = pages.pop()
        seen.add(page)
        status, text, _ = visit.ask("GET", page)
        assert status in {200, 303, 403, 404, 409}, (page, status, text[-600:])
        found = [word for word in (f"{SECRET}@", f"{SECRET} one", f"user@{THEIRS}") if word in text]
        assert not found, (page, found)
        links = {html.unescape(link).partition("#")[0] for link in re.findall(r'(?:href|src)="(/[^"]*)"', text)}
        pages[:0] = [link for link in sorted(links) if not link.startswith("/static") and link not in {*seen, *pages}]
    assert "/tracking/file.csv" in seen
    assert any(page.startswith("/quarantine/") and mails[OURS].item in page for page in seen)
