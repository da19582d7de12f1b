"""Archives, quarantine and backup of a running gateway, and the commands on them (F-STOR-01 to F-STOR-08)."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, run_here
from tests.support.mails import EICAR, locked_zip, plain, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.storage.item import CODES, Item, ItemObject, StoreKind, item_id
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import New, Store

POLICY = """
[[group]]
name = "keepers"
recipients = ["*@keep.example.org"]
block_message = ["infected"]
save_in_qb = ["infected", "suspicious", "protected"]
quarantine_path = "{state}/keepers-q"
backup_path = "{state}/keepers-b"

[[group]]
name = "watchers"
recipients = ["*@watch.example.org"]
block_message = []
action_infected = "pass"
save_in_quarantine = ["infected"]
quarantine_path = "{state}/watchers-q"

[[group]]
name = "plain"
recipients = ["*@plain.example.org"]
keep_originals = false
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    def script(step: str, argument: str, _: Sink) -> str | None:
        return "550 5.1.1 nobody" if step == "rcpt" and "nobody@" in argument else None

    with Sink(script=script) as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("stores") / "gw"
    changes = {
        "[path]\n": f'[path]\nincoming_archive_path = "{state}/arch_in"\noutgoing_archive_path = "{state}/arch_out"\n',
        '"allow from any to @protected"': '"allow from any to *@*.example.org", "allow from any to @protected"',
    }
    with Gateway(
        state, sink.port, relays=2, replace=changes, settings=POLICY.replace("{state}", str(state))
    ) as gateway:
        yield gateway


def store(gateway: Gateway, name: str) -> Store:
    return Store(str(gateway.state / name))


def items_of(gateway: Gateway, name: str, queue_id: str) -> list[str]:
    """Ids of the items that a message, or a copy of it, became in a store."""
    with store(gateway, name) as opened:
        if not opened.layout.exists:
            return []
        return [each for each in opened.layout.item_ids() if opened.container(each).item.source == queue_id]


def stored(gateway: Gateway, name: str, queue_id: str) -> str:
    found = wait_for(lambda: items_of(gateway, name, queue_id), f"{queue_id} in {name}")
    assert len(found) == 1
    return found[0]


def blocked(gateway: Gateway, queue_id: str) -> None:
    wait_for(lambda: gateway.lines("BLOCKED", queue_id), "its end")


def arrived(sink: Sink, subject: str, times: int = 1) -> list[bytes]:
    def look() -> list[bytes]:
        found = [
            mail.content for mail in list(sink.mails) if f"Subject: {subject}\r\n".encode() in mail.header + b"\r\n"
        ]
        return found if len(found) >= times else []

    found = wait_for(look, f"mail {subject!r}")
    assert len(found) == times
    return found


@pytest.mark.feature("F-STOR-01")
@pytest.mark.parametrize("size", [0, 400_000])
def test_the_incoming_archive_holds_what_was_received(gateway: Gateway, sink: Sink, size: int) -> None:
    content = plain(f"incoming {size}", size=size)
    queue_id = gateway.send(content)
    with store(gateway, "arch_in") as opened:
        item = stored(gateway, "arch_in", queue_id)
        assert b"".join(opened.content(item)) == content
        row = wait_for(lambda: opened.row(item), "its place in the index")
        assert (row.code, row.subject, row.recipients) == ("RCV", f"incoming {size}", ("user@example.org",))
    arrived(sink, f"incoming {size}")
    wait_for(lambda: gateway.lines("SAVED, store=incoming", queue_id), "its record")


@pytest.mark.feature("F-STOR-02")
def test_the_outgoing_archive_holds_sent_blocked_and_generated_mail(gateway: Gateway, sink: Sink) -> None:
    queue_id = gateway.send(plain("outgoing"))
    [sent] = arrived(sink, "outgoing")
    failing = gateway.send(plain("refused there"), "nobody@example.org", sender="author@example.org")
    bad = gateway.send(with_attachment(EICAR, subject="blocked"))
    blocked(gateway, bad)
    with store(gateway, "arch_out") as opened:
        assert b"".join(opened.content(stored(gateway, "arch_out", queue_id))) == sent
        found = opened.container(stored(gateway, "arch_out", bad)).item
        assert (found.code, found.blocked, found.objects[0].threat) == ("INF", True, "EICAR-Test-File")
        assert EICAR[:20] in b"".join(opened.content(found.id)) or b"base64" in b"".join(opened.content(found.id))
        generated = wait_for(lambda: gateway.lines(f"srcid={failing}", "GENERATED"), "the report")[0]
        report = re.search(r"\] ([0-9A-Z]{13}): GENERATED", generated)
        assert report is not None
        dsn = opened.container(stored(gateway, "arch_out", report[1])).item
        assert (dsn.code, dsn.kind, dsn.envelope.sender) == ("SNT", "dsn-failed", "")


@pytest.mark.feature("F-STOR-03")
def test_infected_goes_to_quarantine_and_other_listed_statuses_to_backup(gateway: Gateway) -> None:
    infected = gateway.send(with_attachment(EICAR), "user@keep.example.org")
    protected = gateway.send(with_attachment(locked_zip(), "a.zip"), "user@keep.example.org")
    clean = gateway.send(plain("clean"), "user@keep.example.org")
    item = stored(gateway, "keepers-q", infected)
    assert stored(gateway, "keepers-b", protected)
    wait_for(lambda: gateway.lines("DELIVERED", clean), "the clean one")
    assert not items_of(gateway, "keepers-b", infected)
    assert not items_of(gateway, "keepers-q", protected)
    assert not items_of(gateway, "keepers-q", clean)
    assert not items_of(gateway, "keepers-b", clean)
    with store(gateway, "keepers-q") as opened:
        found = opened.container(item).item
    assert (found.group, found.code, found.statuses) == ("keepers", "INF", ("infected",))
    assert (gateway.state / "keepers-q").stat().st_mode & 0o777 == 0o700
    assert Path(opened.layout.path_of(item)).stat().st_mode & 0o777 == 0o600


@pytest.mark.feature("F-STOR-05")
def test_saving_a_copy_does_not_block_delivery(gateway: Gateway, sink: Sink) -> None:
    content = with_attachment(EICAR, subject="saved and sent")
    queue_id = gateway.send(content, "user@watch.example.org")
    [sent] = arrived(sink, "saved and sent")
    assert sent.endswith(content.partition(b"\r\n\r\n")[2])  # unchanged: the action is pass
    with store(gateway, "watchers-q") as opened:
        assert b"".join(opened.content(stored(gateway, "watchers-q", queue_id))) == content


def test_the_original_of_what_is_blocked_or_changed_is_kept_unless_told_not_to(gateway: Gateway) -> None:
    content = with_attachment(EICAR, subject="kept")
    queue_id = gateway.send(content)
    blocked(gateway, queue_id)
    with store(gateway, "backup") as opened:
        assert b"".join(opened.content(stored(gateway, "backup", queue_id))) == content
    other = gateway.send(content, "user@plain.example.org")
    blocked(gateway, other)
    assert not items_of(gateway, "backup", other)


def test_a_copy_for_each_group_that_wants_one(gateway: Gateway) -> None:
    people = ["one@keep.example.org", "two@keep.example.org", "user@watch.example.org"]
    queue_id = gateway.send(with_attachment(EICAR), people)
    with store(gateway, "keepers-q") as opened:
        ours = opened.container(stored(gateway, "keepers-q", queue_id)).item
    assert [each.address for each in ours.envelope.recipients] == people[:2]
    assert stored(gateway, "watchers-q", queue_id)


# --- commands


def put(directory: Path, code: str, number: int, content: bytes) -> str:
    name = {"RCV": StoreKind.INCOMING, "SNT": StoreKind.OUTGOING}.get(code, StoreKind.QUARANTINE)
    ids = QueueIds(0, 1)
    message = ids.next(1_790_000_000_000 + number)
    envelope = Envelope("from@one.example", (Recipient(f"to{number}@example.org"),), Client("192.0.2.7"))
    text = format_queue_id(message)
    objects = (ItemObject("a.exe", "infected", "Worm.Test"),) if code == "INF" else ()
    item = Item(
        item_id(message, name), name, text, text, 1_790_000_000.0, 1_790_000_000.0, envelope, len(content), code,
        objects=objects, subject=f"subject {number}",
    )  # fmt: skip
    with Store(str(directory), create=True) as opened:
        assert opened.put([New(item, lambda: [content])]) == [None]
    return item.id


@pytest.mark.feature("F-STOR-06")
def test_any_store_is_listed_with_its_codes_and_totals(tmp_path: Path) -> None:
    codes = ["RCV", "SNT", "CLN", "CRD", "SSP", "PRT", "ERR", "FLT", "INF"]
    assert set(codes) < set(CODES)
    ids = [put(tmp_path / "s", code, number, b"x" * (number + 1)) for number, code in enumerate(codes)]
    shown = run_here("archive", f"--archive-path={tmp_path / 's'}", "--show-all")
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert lines[-1] == "9 stored messages, 45 bytes"
    columns = [line.split() for line in lines[:-1]]
    assert [(row[0], row[1], row[2]) for row in reversed(columns)] == [
        (item, code, str(number + 1)) for number, (item, code) in enumerate(zip(ids, codes, strict=True))
    ]
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"{ids[0]} RCV 1 {date} 192\.0\.2\.7 <from@one\.example> -> <to0@example\.org>", lines[-2])
    one = run_here("archive", f"--archive-path={tmp_path / 's'}", f"--show-id={ids[8]}")
    assert one.stdout.splitlines()[0] == lines[0]
    listed = run_here("quarantine", "list", "--path", str(tmp_path / "s"), "--status", "INF")
    assert listed.stdout.splitlines()[-1] == "1 stored messages match, 9 bytes"
    found = run_here("quarantine", "search", "worm", "subj", "--path", str(tmp_path / "s"))
    assert ids[8] in found.stdout
    assert "1 stored messages match" in found.stdout


@pytest.mark.feature("F-STOR-07")
def test_one_or_all_are_deleted(tmp_path: Path) -> None:
    ids = [put(tmp_path / "s", "INF", number, b"mail") for number in range(4)]
    archive = f"--archive-path={tmp_path / 's'}"
    assert run_here("archive", archive, f"--remove-id={ids[0]}").returncode == 0
    opened = Store(str(tmp_path / "s"))
    assert not Path(opened.layout.path_of(ids[0])).exists()
    assert run_here("archive", archive, "-d", ids[0]).returncode == 4
    assert run_here("archive", archive, "-d", "nonsense").returncode == 1
    assert run_here("archive", archive).returncode == 1
    assert run_here("archive", f"--archive-path={tmp_path / 'none'}", "--show-all").returncode == 2
    assert run_here("archive", archive, "-r").returncode == 0
    assert opened.totals(ItemFilter(), 0.0).items == 0
    assert list(opened.layout.item_ids()) == []
    assert run_here("archive", archive, "-r").returncode == 4
    (tmp_path / "s" / "lock").unlink()
    (tmp_path / "s" / "lock").mkdir()
    assert run_here("archive", archive, "--show-all").returncode == 3


@pytest.mark.feature("F-STOR-07", "F-STOR-08")
def test_mail_is_sent_again_with_or_without_checks(gateway: Gateway, sink: Sink) -> None:
    good = gateway.send(plain("once more"))
    arrived(sink, "once more")
    content = with_attachment(EICAR, subject="armed")
    bad = gateway.send(content)
    blocked(gateway, bad)
    archive = f"--archive-path={gateway.state / 'arch_in'}"
    sent = gateway.command("archive", archive, f"--send-id={stored(gateway, 'arch_in', good)}")
    assert sent.returncode == 0, sent.stderr
    assert arrived(sink, "once more", 2)[0].partition(b"\r\n\r\n")[2] == b"hello\r\n"
    item = stored(gateway, "arch_in", bad)
    again = gateway.command("archive", archive, "-o", item)
    assert again.returncode == 0, again.stderr
    queue_id = re.search(r"released as ([0-9A-Z]{13})", again.stdout)
    assert queue_id is not None
    blocked(gateway, queue_id[1])
    assert gateway.command("archive", archive, f"--send-id-without-check={item}").returncode == 0
    [armed] = arrived(sink, "armed")
    assert armed.endswith(content)


@pytest.mark.feature("F-STOR-07")
@pytest.mark.parametrize(("option", "first"), [("--send-all", 20), ("-a", 30), ("--send-all-without-check", 40)])
def test_all_of_a_store_is_sent(gateway: Gateway, sink: Sink, tmp_path: Path, option: str, first: int) -> None:
    for number in range(first, first + 3):
        put(tmp_path / "s", "INF", number, plain(f"{option} {number}"))
    archive = f"--archive-path={tmp_path / 's'}"
    done = gateway.command("archive", archive, option)
    assert done.returncode == 0, done.stderr
    for number in range(first, first + 3):
        arrived(sink, f"{option} {number}")
    assert gateway.command("archive", archive, "-o", "0000000000000-000000").returncode == 4


def test_show_and_export(gateway: Gateway, tmp_path: Path) -> None:
    content = with_attachment(EICAR, subject="shown")
    queue_id = gateway.send(content, "user@keep.example.org")
    item = stored(gateway, "keepers-q", queue_id)
    shown = gateway.command("quarantine", "show", item.lower())
    assert shown.returncode == 0, shown.stderr
    assert "subject:     shown" in shown.stdout
    assert "EICAR-Test-File" in shown.stdout
    written = gateway.command("quarantine", "export", item, "-o", str(tmp_path))
    assert written.returncode == 0, written.stderr
    copy = tmp_path / f"{item}.eml"
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o777 == 0o600
    assert gateway.command("quarantine", "export", item, "-o", str(tmp_path)).returncode == 4
    assert gateway.command("quarantine", "show", "0000000000000-000000").returncode == 4
    assert gateway.command("quarantine", "delete", item).returncode == 4  # nobody is there to agree
    assert gateway.command("quarantine", "delete", item, "--yes").returncode == 0
    assert not items_of(gateway, "keepers-q", queue_id)
