"""Rows of the acceptance list about what is found, through one running gateway: statuses, filters, one inspection."""

import email
import email.policy
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, locked_zip, plain, with_attachment, zipped
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wrappings import FILES, attached, forwarded, message, mixed, part, uuencoded

BLOCKING = 'block_message = ["infected", "suspicious", "protected", "error", "filtered"]'
GROUPS = 20
SETTINGS = """
[[group]]
name = "names"
recipients = ["*@names.example.org"]
include_by_name = ["*.exe", "re?ort.*"]
exclude_by_name = ["setup.exe"]
action_filtered = "remove"

[[group]]
name = "types"
recipients = ["*@types.example.org"]
include_by_mime = ["image/*", "application/x-msdownload"]
exclude_by_mime = ["image/gif"]
action_filtered = "remove"
""" + "".join(
    f'\n[[group]]\nname = "g{number}"\nrecipients = ["*@g{number}.example.org"]\n'
    + ("check = false\n", 'include_by_name = ["*.exe"]\n', 'action_infected = "pass"\n', 'block_message = "all"\n', "")[
        number % 5
    ]
    for number in range(GROUPS)
)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("rows") / "gw"
    changes = {
        BLOCKING: "block_message = []",
    }
    with Gateway(state, sink.port, settings=SETTINGS, replace=changes) as one:
        yield one


def scanned(gateway: Gateway, queue_id: str) -> str:
    (line,) = wait_for(lambda: gateway.lines("SCANNED", queue_id), "the SCANNED line")
    return line


def status(gateway: Gateway, content: bytes, recipient: str = "user@example.org") -> str:
    return scanned(gateway, gateway.send(content, recipient)).partition('status="')[2].partition('"')[0]


def names(sink: Sink, recipient: str) -> list[str | None]:
    """File names of what arrived for one recipient, who got one mail."""
    found = wait_for(
        lambda: [mail for mail in list(sink.mails) if recipient in mail.recipients], f"mail for {recipient}"
    )
    assert len(found) == 1
    message = email.message_from_bytes(found[0].content, policy=email.policy.default)
    return [each.get_filename() for each in message.walk() if not each.is_multipart()][1:]


# -- finding --------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("F-AV-01", "F-AV-02")
@pytest.mark.parametrize(
    "content",
    [
        mixed(part(b"fine", "a.bin"), part(EICAR, "b.bin")),
        forwarded(attached(EICAR)),
        message(b"Here:\r\n" + uuencoded(EICAR) + b"bye\r\n"),
        attached(FILES["tnef.dat"].pack(EICAR), "winmail.dat"),
    ],
    ids=["second attachment", "message/rfc822", "uuencode", "winmail.dat"],
)
def test_every_element_is_looked_at(gateway: Gateway, content: bytes) -> None:
    line = scanned(gateway, gateway.send(content))
    assert 'status="infected"' in line
    assert "EICAR-Test-File" in line


def truncated_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("figures.bin", bytes(range(256)) * 40)
    return out.getvalue()[:5000]


@pytest.mark.feature("F-AV-05", "F-AV-06")
@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("clean", plain("clean")),
        ("infected", with_attachment(EICAR, "eicar.com")),
        ("disinfected", with_attachment(b"CURE-" + EICAR, "curable.com")),
        ("suspicious", with_attachment(b"SUSP-" + EICAR, "odd.com")),
        ("protected", with_attachment(locked_zip(), "locked.zip")),
        ("error", with_attachment(truncated_zip(), "broken.zip")),
        ("filtered", with_attachment(b"harmless", "tool.exe")),
    ],
)
def test_all_seven_statuses_are_logged(gateway: Gateway, expected: str, content: bytes) -> None:
    assert status(gateway, content, "seven@names.example.org") == expected


@pytest.mark.feature("F-AV-03", "F-AV-04")
def test_archives_and_mail_bases_are_opened_by_option(gateway: Gateway, sink: Sink, tmp_path: Path) -> None:
    archive, folder = attached(zipped(EICAR), "x.zip"), attached(FILES["folder.mbox"].pack(EICAR), "folder.mbox")
    assert [status(gateway, content) for content in (archive, folder)] == ["infected", "infected"]
    closed = {"scan_archives = true": "scan_archives = false\nscan_mail_bases = false"}
    with Gateway(tmp_path / "gw", sink.port, replace=closed) as other:
        assert [status(other, content) for content in (archive, folder)] == ["clean", "clean"]


# -- filters --------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("F-AV-14")
@pytest.mark.parametrize(
    ("name", "filtered"),
    [
        ("tool.exe", True),
        ("TOOL.Exe", True),
        ("setup.exe", False),
        ("SETUP.EXE", False),
        ("my setup.exe", True),
        ("tool.exe.txt", False),
        ("report.bin", True),
        ("re\u0440ort.bin", True),  # in another script, by RFC 2231 or 2047
        ("resort.txt", True),
        ("rereport.bin", False),
    ],
)
def test_names(gateway: Gateway, sink: Sink, name: str, filtered: bool) -> None:
    recipient = f"{name.encode().hex()}@names.example.org"
    assert status(gateway, with_attachment(b"harmless", name), recipient) == ("filtered" if filtered else "clean")
    assert names(sink, recipient) == ([] if filtered else [name])


@pytest.mark.feature("F-AV-15")
@pytest.mark.parametrize(
    ("kind", "filtered"),
    [
        ("image/png", True),
        ("IMAGE/Jpeg", True),
        ("image/gif", False),
        ("Image/GIF", False),
        ("application/x-msdownload", True),
        ("application/octet-stream", False),
    ],
)
def test_types(gateway: Gateway, sink: Sink, kind: str, filtered: bool) -> None:
    recipient = f"{kind.replace('/', '.')}@types.example.org"
    content = mixed(b"Content-Type: text/plain\r\n\r\nSee the picture.", part(b"harmless", "x.bin", kind))
    assert status(gateway, content, recipient) == ("filtered" if filtered else "clean")
    assert names(sink, recipient) == ([] if filtered else ["x.bin"])


@pytest.mark.feature("F-AV-16")
def test_what_is_filtered_is_not_scanned(gateway: Gateway) -> None:
    counters = ("antiviral_checked_objects_filtered_objects", "antiviral_infected_objects")
    before = [gateway.counter(each) for each in counters]
    assert status(gateway, with_attachment(EICAR, "tool.exe"), "unseen@names.example.org") == "filtered"
    wait_for(lambda: gateway.counter(counters[0]) > before[0], "the counter")
    assert [gateway.counter(each) for each in counters] == [before[0] + 1, before[1]]


# -- one inspection ---------------------------------------------------------------------------------------------------------


def jobs(gateway: Gateway) -> int:
    """Inspections the filters have answered."""
    return sum(relay["filters"]["jobs"] for relay in gateway.status()["relays"])


def test_a_mail_to_twenty_groups_is_inspected_once(gateway: Gateway, sink: Sink) -> None:
    recipients = [f"user@g{number}.example.org" for number in range(GROUPS)]
    content = with_attachment(b"CURE-" + EICAR, "curable.com", "to twenty groups")
    before = jobs(gateway)
    queue_id = gateway.send(content, recipients)
    wait_for(lambda: len(gateway.lines("SCANNED", queue_id)) == GROUPS, "a verdict for each")
    assert jobs(gateway) == before + 1
    lines = gateway.lines("SCANNED", queue_id)
    assert {re.findall(r"group=<(\w+)>", line)[0] for line in lines} == {f"g{number}" for number in range(GROUPS)}
    unchecked = [line for line in lines if 'status="not_checked"' in line]
    assert (len(unchecked), sum('status="disinfected"' in line for line in lines)) == (GROUPS // 5, GROUPS * 4 // 5)
    blocked = [f"user@g{number}.example.org" for number in range(GROUPS) if number % 5 == 3]
    wait_for(lambda: all(gateway.lines(f"BLOCKED, rcpt=<{each}>") for each in blocked), "those that block")
    arrived = [each for each in recipients if each not in blocked]
    wait_for(lambda: all(sink.recipients()[each] for each in arrived), "the others' mail")
    assert all(sink.recipients()[each] == 1 for each in arrived)
    assert not any(sink.recipients()[each] for each in blocked)
