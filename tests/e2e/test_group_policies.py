"""Groups and their actions, from the configuration to what arrives: whose rules apply, and what they do."""

import email
import email.policy
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, locked_zip, plain, with_attachment
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

BLOCKING = 'block_message = ["infected", "suspicious", "protected", "error", "filtered"]'
ACTIONS = ("pass", "remove", "placeholder", "cure")
CURABLE_STATUSES = ("disinfected", "filtered")
"""For the others the configuration knows no action `cure`."""
SAMPLES = {
    "disinfected": (b"CURE-" + EICAR, "curable.com"),
    "infected": (EICAR, "eicar.com"),
    "suspicious": (b"SUSP-" + EICAR, "odd.com"),
    "protected": (locked_zip(), "locked.zip"),
    "error": (b"ERRO-" + EICAR, "broken.com"),
    "filtered": (b"harmless, but not wanted", "tool.exe"),
}
TEXTS = {
    "disinfected": "It contained malicious code.",
    "infected": "It contained malicious code.",
    "suspicious": "It looked like malicious code.",
    "protected": "It was locked by a password",
    "error": "It could not be examined",
    "filtered": "Attachments of this name or type are not accepted here.",
}


def group(name: str, **values: object) -> str:
    """A `[[group]]` table."""

    def render(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return "[" + ", ".join(f'"{item}"' for item in value) + "]"
        return f'"{value}"'

    return f'\n[[group]]\nname = "{name}"\n' + "".join(f"{key} = {render(value)}\n" for key, value in values.items())


def of_action(action: str) -> str:
    """A group of one domain whose every action is the same, as far as the configuration allows."""
    possible = {
        f"action_{status}": action if action != "cure" or status in CURABLE_STATUSES else "remove" for status in SAMPLES
    }
    return group(action, recipients=[f"*@{action}.example.org"], block_message=[], **possible)


GROUPS = (
    "".join(of_action(action) for action in ACTIONS)
    + group("sent-by", senders=["boss@*"])
    + group("both", senders=["*@partner.example"], recipients=["*@both.example.org"])
    + group("for", recipients=["*@for.example.org", "*@both.example.org"])
    + group("unchecked", recipients=["*@unchecked.example.org"], check=False)
    + group("block-some", recipients=["*@some.example.org"], block_message=["suspicious", "protected"])
    + group("block-all", recipients=["*@all.example.org"], block_message="all")
    + group("block-none", recipients=["*@none.example.org"], block_message="none")
)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("groups") / "gw"
    filtering = {BLOCKING: BLOCKING + '\ninclude_by_name = ["*.exe"]'}
    with Gateway(state, sink.port, settings=GROUPS, replace=filtering) as one:
        yield one


def mail_for(sink: Sink, recipient: str) -> Mail:
    def look() -> list[Mail]:
        return [mail for mail in list(sink.mails) if recipient in mail.recipients]

    mails = wait_for(look, f"mail for {recipient}")
    assert len(mails) == 1
    return mails[0]


def scanned(gateway: Gateway, queue_id: str) -> str:
    (line,) = wait_for(lambda: gateway.lines("SCANNED", queue_id), "the SCANNED line")
    return line


def refused_by_check(gateway: Gateway, state: Path, extra: str) -> str:
    """Check the gateway's configuration with something appended; return what the check says."""
    broken = state / "broken.toml"
    broken.write_text(gateway.config.read_text() + extra)
    found = gateway.command("config", "check", conf_file=broken)
    assert found.returncode == 66
    return found.stdout


# --- which group


@pytest.mark.feature("F-GRP-02")
@pytest.mark.parametrize(
    ("sender", "recipient", "name"),
    [
        ("boss@any.example", "x@example.org", "sent-by"),
        ("BOSS@any.example", "x@for.example.org", "sent-by"),
        ("bossy@any.example", "x@for.example.org", "for"),
        ("", "x@For.Example.org", "for"),
        ("a@partner.example", "x@both.example.org", "both"),
        ("a@other.example", "x@both.example.org", "for"),
        ("a@partner.example", "x@example.org", "policy"),
    ],
)
def test_pair_of_sender_and_recipient_selects_the_group(
    gateway: Gateway, sender: str, recipient: str, name: str
) -> None:
    assert f"group=<{name}>, nrcpt=1, " in scanned(gateway, gateway.send(plain("pair"), recipient, sender))


@pytest.mark.feature("F-GRP-02")
def test_group_without_senders_and_recipients_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    answer = refused_by_check(gateway, tmp_path, group("nobody", check=False))
    assert "nobody" in answer
    assert re.search(r"broken\.toml:\d+: error: ", answer)


@pytest.mark.feature("F-GRP-01")
def test_unmatched_mail_is_under_the_policy(gateway: Gateway) -> None:
    assert "group=<policy>, " in scanned(gateway, gateway.send(plain("unmatched"), "nobody@example.org"))


@pytest.mark.feature("F-GRP-03")
def test_first_matching_group_wins(tmp_path: Path) -> None:
    lenient = group("lenient", recipients=["*@example.org"], check=False)
    strict = group("strict", recipients=["user@*"])
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, settings=lenient + strict) as gateway:
        infected = with_attachment(EICAR, "eicar.com")
        gateway.send(infected)
        assert mail_for(sink, "user@example.org").without_trace() == infected
        gateway.edit(lenient + strict, strict + lenient)
        assert gateway.command("reload").returncode == 0
        queue_id = gateway.send(infected)
        wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the same mail blocked")
        assert "group=<strict>" in scanned(gateway, queue_id)
        assert len(sink.mails) == 1


@pytest.mark.feature("F-GRP-04")
def test_group_inherits_what_it_does_not_set(tmp_path: Path) -> None:
    both = ["of@group.example.org", "of@policy.example.org"]
    bare = group("bare", recipients=["*@group.example.org"])
    editing = BLOCKING.replace('"infected", ', "")
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port, settings=bare, replace={BLOCKING: editing}) as gateway:
        gateway.send(with_attachment(EICAR, "eicar.com"), both)
        one, other = (mail_for(sink, recipient) for recipient in both)
        assert TEXTS["infected"].encode() in one.content
        # The text quotes the queue id of each one's copy.
        bodies = [re.sub(rb"number: [0-9A-Z]{13}", b"number", mail.content) for mail in (one, other)]
        assert re.sub(rb"id [0-9A-Z]{13}", b"", bodies[0]) == re.sub(rb"id [0-9A-Z]{13}", b"", bodies[1])
        assert {"bare", "policy"} == set(re.findall(r"SCANNED, group=<([a-z]+)>", gateway.log()))
        gateway.edit(editing, BLOCKING)
        assert gateway.command("reload").returncode == 0
        gateway.send(with_attachment(EICAR, "eicar.com"), both)
        wait_for(lambda: len(gateway.lines("BLOCKED")) == 2, "both copies blocked")
        assert len(sink.mails) == 2


@pytest.mark.feature("F-GRP-05")
def test_recipients_of_two_groups_get_copies_of_their_own(gateway: Gateway, sink: Sink) -> None:
    content = with_attachment(EICAR, "eicar.com", "two groups")
    recipients = ["two@pass.example.org", "two@placeholder.example.org", "more@pass.example.org"]
    source = gateway.send(content, recipients)
    passed, edited = mail_for(sink, recipients[0]), mail_for(sink, recipients[1])
    assert passed.recipients == [recipients[0], recipients[2]]
    assert passed.without_trace() == content
    assert edited.recipients == [recipients[1]]
    assert TEXTS["infected"].encode() in edited.content
    lines = wait_for(lambda: gateway.lines("SPLITTED", source), "the SPLITTED lines")
    found = [
        re.fullmatch(r"\[[^]]+ A\] ([0-9A-Z]{13}): SPLITTED, domain=<([^>]+)>, nrcpt=(\d+), srcid=([0-9A-Z]{13})", line)
        for line in lines
    ]
    assert all(found)
    fields = [match.groups() for match in found if match]
    assert [field[1:] for field in fields] == [
        ("pass.example.org", "2", source),
        ("placeholder.example.org", "1", source),
    ]
    copies = [field[0] for field in fields]
    assert len({*copies, source}) == 3
    for copy, name in zip(copies, ("pass", "placeholder"), strict=True):
        assert f"group=<{name}>" in scanned(gateway, copy)
        assert f"srcid={source}" in scanned(gateway, copy)


# --- what they do


@pytest.mark.feature("F-AV-17")
@pytest.mark.parametrize("status", SAMPLES)
def test_every_action_for_a_status(gateway: Gateway, sink: Sink, status: str, tmp_path: Path) -> None:
    data, name = SAMPLES[status]
    content = with_attachment(data, name, f"action {status}")
    recipients = {action: f"{status}@{action}.example.org" for action in ACTIONS}
    queue_id = gateway.send(content, list(recipients.values()))
    results = {action: mail_for(sink, recipient).without_trace() for action, recipient in recipients.items()}
    lines = wait_for(lambda: gateway.lines("SCANNED", queue_id), "the SCANNED lines")
    assert len(lines) == len(ACTIONS)
    assert all(f'status="{status}"' in line for line in lines)
    assert results["pass"] == content
    for action in ("remove", "placeholder", "cure"):
        mail = email.message_from_bytes(results[action], policy=email.policy.default)
        assert mail["Subject"] == f"action {status}"
        texts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
        assert texts[0].strip() == b"See the file."
        assert data not in texts
        told = any(TEXTS[status].encode() in text and name.encode() in text for text in texts)
        assert told == (action == "placeholder"), action
        cured = action == "cure" and status == "disinfected"
        assert (b"CURED" in texts) == cured
        assert [part.get_filename() for part in mail.walk() if part.get_filename()] == [name] * cured
    if status not in CURABLE_STATUSES:
        answer = refused_by_check(
            gateway, tmp_path, group("wrong", recipients=["x@example.org"], **{f"action_{status}": "cure"})
        )
        assert f"action_{status}" in answer


@pytest.mark.feature("F-AV-18")
def test_messages_are_blocked_by_status(gateway: Gateway, sink: Sink) -> None:
    domains = ("some", "all", "none")
    before = gateway.counter("antiviral_checked_messages_blocked")
    blocked = {"infected": ["all"], "suspicious": ["some", "all"], "filtered": ["all"], "disinfected": ["all"]}
    for status, where in blocked.items():
        recipients = {domain: f"{status}@{domain}.example.org" for domain in domains}
        data, name = SAMPLES[status]
        content = with_attachment(data, name, f"block {status}")
        gateway.send(content, list(recipients.values()))
        for domain, recipient in recipients.items():
            if domain in where:
                (line,) = wait_for(lambda r=recipient: gateway.lines(f"BLOCKED, rcpt=<{r}>"), f"{recipient} blocked")
                assert f"size={len(content)}" in line
                assert status in line
            else:
                mail_for(sink, recipient)
    arrived = sink.recipients()
    for status, where in blocked.items():
        assert [d for d in domains if not arrived[f"{status}@{d}.example.org"]] == where
    expected = sum(len(where) for where in blocked.values())
    wait_for(
        lambda: gateway.counter("antiviral_checked_messages_blocked") >= before + expected, "the counter of blocked"
    )
    assert gateway.counter("antiviral_checked_messages_blocked") == before + expected


@pytest.mark.feature("F-AV-19")
def test_scanning_is_switched_off_for_a_group(gateway: Gateway, sink: Sink) -> None:
    content = with_attachment(EICAR, "eicar.com", "unchecked")
    queue_id = gateway.send(content, "user@unchecked.example.org")
    assert mail_for(sink, "user@unchecked.example.org").without_trace() == content
    line = scanned(gateway, queue_id)
    assert "group=<unchecked>" in line
    assert 'status="not_checked"' in line
