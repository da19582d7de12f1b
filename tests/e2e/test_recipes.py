"""The documented recipes of a policy, with the parameters as they stand there, and what arrives (antivirus.md §6).

One gateway on a configuration in the documented form, a group for each recipe; a sample of every status to each.
"""

import email
import email.policy
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage

import pytest
from tests.support.ini import IniGateway
from tests.support.mails import EICAR, locked_zip, plain, with_attachment
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

from gatepost.storage.store import Store

REMOVING = [
    "ActionDisinfected=cure", "ActionInfected=remove", "ActionSuspicious=remove", "ActionProtected=remove",
    "ActionError=remove", "ActionFiltered=remove",
]  # fmt: skip
QUIET = ["NotifyAdmin=", "NotifySender=", "NotifyRecipient="]
RECIPES = {
    "unchanged": [
        "Check=yes", "ActionDisinfected=pass", "ActionInfected=pass", "ActionSuspicious=pass", "ActionProtected=pass",
        "ActionError=pass", "ActionFiltered=pass", "BlockMessage=", "NotifyAdmin=infected,suspicious,protected,error",
        "NotifySender=infected", "NotifyRecipient=disinfected",
    ],
    "only-clean": [*REMOVING, *QUIET, "BlockMessage=infected,suspicious,protected,error,filtered"],
    "delete": [*REMOVING, *QUIET, "BlockMessage="],
    "replace": [*(line.replace("remove", "placeholder") for line in REMOVING), *QUIET, "BlockMessage="],
    "block": [
        *REMOVING, *QUIET, "BlockMessage=infected,suspicious,protected,error", "NotifyAdmin=suspicious",
        "AttachOriginalToAdmin=yes",
    ],
    "executables": [
        *REMOVING, *QUIET, "IncludeByName=*.exe", "ActionFiltered=remove",
        "BlockMessage=infected,suspicious,protected,error,filtered",
    ],
    "quarantine": [
        *REMOVING, *QUIET, "BlockMessage=", "SaveInQB=suspicious", "QuarantinePath={state}/saved",
        "BackupPath={state}/saved",
    ],
}  # fmt: skip
SAMPLES = {
    "clean": (b"figures\r\n", "figures.bin"),
    "disinfected": (b"CURE-" + EICAR, "curable.com"),
    "infected": (EICAR, "eicar.com"),
    "suspicious": (b"SUSP-" + EICAR, "odd.com"),
    "protected": (locked_zip(), "locked.zip"),
    "error": (b"CORR-" + EICAR, "broken.com"),
}
BAD = tuple(status for status in SAMPLES if status not in ("clean", "disinfected"))
PLACEHOLDER = b"removed"


@dataclass
class Place:
    gateway: IniGateway
    sink: Sink
    ids: dict[tuple[str, str], str]
    """Queue id by (recipe, status)."""


@functools.cache
def content_of(recipe: str, status: str) -> bytes:
    data, name = SAMPLES[status]
    return with_attachment(data, name, f"{recipe} {status}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    state = tmp_path_factory.mktemp("recipes") / "gw"
    groups = "".join(
        f"[mailgw.group:{name}]\nRecipients=*@{name}.example.org\nAdminNotifyAddress=admin@{name}.example.org\n"
        + "".join(f"{line}\n" for line in lines)
        for name, lines in RECIPES.items()
    ).replace("{state}", str(state))
    with Sink() as sink, IniGateway(state, sink.port, extra={"ave": ["Cure=yes"]}, tail=groups) as gateway:
        ids = {
            (recipe, status): gateway.send(
                content_of(recipe, status), f"user@{recipe}.example.org", "author@example.org"
            )
            for recipe in RECIPES
            for status in SAMPLES
        }
        wait_for(lambda: len(gateway.lines("SCANNED")) == len(ids), "all verdicts")
        wait_for(lambda: not gateway.queue(), "an empty queue")
        yield Place(gateway, sink, ids)


def delivered(place: Place, recipe: str, status: str) -> bytes | None:
    """What the recipient got of a mail, None when it was blocked."""
    subject = f"\r\nSubject: {recipe} {status}\r\n".encode()
    found = [mail for mail in place.sink.mails if mail.sender and subject in mail.header + b"\r\n"]
    blocked = place.gateway.lines(f"BLOCKED, rcpt=<user@{recipe}.example.org>", place.ids[recipe, status])
    assert len(found) + len(blocked) == 1
    return found[0].without_trace() if found else None


def notices(place: Place, address: str) -> list[Mail]:
    return [mail for mail in place.sink.mails if not mail.sender and address in mail.recipients]


def attachments(content: bytes) -> list[tuple[str | None, bytes]]:
    """(name, content) of the parts behind the text, which is there as it was."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    text, *others = [part for part in message.walk() if not part.is_multipart()]
    assert text.get_content().strip() == "See the file."
    return [(part.get_filename(), (part.get_payload(decode=True) or b"").strip()) for part in others]


def test_each_sample_has_its_status(place: Place) -> None:
    for (_, status), queue_id in place.ids.items():
        [line] = place.gateway.lines("SCANNED", queue_id)
        assert f'status="{status}"' in line


def test_deliver_everything_unchanged_only_notify(place: Place) -> None:
    for status in SAMPLES:
        assert delivered(place, "unchanged", status) == content_of("unchanged", status)
    wait_for(lambda: len(notices(place, "admin@unchanged.example.org")) == len(BAD), "the notices")
    assert len(notices(place, "author@example.org")) == 1
    assert len(notices(place, "user@unchanged.example.org")) == 1


def test_deliver_only_clean_or_cured(place: Place) -> None:
    assert delivered(place, "only-clean", "clean") == content_of("only-clean", "clean")
    assert attachments(delivered(place, "only-clean", "disinfected") or b"") == [("curable.com", b"CURED")]
    assert [delivered(place, "only-clean", status) for status in BAD] == [None] * len(BAD)


@pytest.mark.parametrize(("recipe", "left"), [("delete", []), ("replace", [(None, PLACEHOLDER)])])
def test_delete_or_replace_bad_attachments_and_deliver_the_rest(
    place: Place, recipe: str, left: list[tuple[str | None, bytes]]
) -> None:
    assert delivered(place, recipe, "clean") == content_of(recipe, "clean")
    assert attachments(delivered(place, recipe, "disinfected") or b"") == [("curable.com", b"CURED")]
    for status in BAD:
        assert attachments(delivered(place, recipe, status) or b"") == left
    assert not notices(place, f"admin@{recipe}.example.org")
    assert not notices(place, f"user@{recipe}.example.org")


def test_block_suspicious_mail_and_keep_the_original(place: Place) -> None:
    assert [delivered(place, "block", status) for status in BAD] == [None] * len(BAD)
    assert delivered(place, "block", "clean") == content_of("block", "clean")
    wait_for(lambda: notices(place, "admin@block.example.org"), "the notice")
    [notice] = notices(place, "admin@block.example.org")
    boundary = email.message_from_bytes(notice.content).get_boundary()
    assert boundary
    fields, _, original = notice.content.split(f"\r\n--{boundary}".encode())[2].partition(b"\r\n\r\n")
    assert b"message/rfc822" in fields
    assert original == content_of("block", "suspicious")


def test_filter_executables(place: Place) -> None:
    gateway, sink = place.gateway, place.sink
    tool = gateway.send(with_attachment(b"harmless", "Tool.EXE", "a tool"), "user@executables.example.org")
    blocked = wait_for(lambda: gateway.lines("BLOCKED", tool), "the tool to be blocked")[0]
    assert "filtered" in blocked
    text = plain("no tool")
    gateway.send(text, "user@executables.example.org")
    wait_for(lambda: any(mail.without_trace() == text for mail in list(sink.mails)), "a mail without one")
    assert not any(b"Subject: a tool" in mail.content for mail in sink.mails)
    assert delivered(place, "executables", "infected") is None


def test_quarantine_suspicious(place: Place) -> None:
    with Store(str(place.gateway.state / "saved")) as store:
        # Beside it, originals of what was changed for another status, which a gateway keeps unless told not to.
        sources = [(store.container(item).item.source, item) for item in store.layout.item_ids()]
        [item] = [item for source, item in sources if source == place.ids["quarantine", "suspicious"]]
        assert b"".join(store.content(item)) == content_of("quarantine", "suspicious")
        assert place.ids["quarantine", "clean"] not in dict(sources)
    assert attachments(delivered(place, "quarantine", "suspicious") or b"") == []  # saving does not hold it up
