"""Another installation, taken over: configuration, templates, queue, archives and quarantine; it stays as it is."""

import asyncio
import os
import tarfile
from pathlib import Path

import pytest
from tests.support.gateway import run_here
from tests.support.state_sample import AT, ID, ITEM_CONTENT

from gatepost.config.guarding import find_refusal
from gatepost.config.load import load, load_text
from gatepost.config.schema import FIELDS
from gatepost.migration.envelopes import Told, parse_envelope, parse_listing, read_header
from gatepost.migration.mail_files import Left, Mail, read_mail
from gatepost.migration.takeover import plan_takeover
from gatepost.migration.taking import take_over
from gatepost.model.envelope import Direction
from gatepost.spool.interface import Stored
from gatepost.spool.writer import SqliteSpool
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store

SAMPLES = Path(__file__).parent / "samples"
MESSAGE = b"From: a@client.example\nTo: list@example.org\nSubject: %s\nMessage-ID: <1@client.example>\n\nbody\n"


def old_installation(root: Path) -> Path:
    """Lay out an installation as documented: a .conf file and its directories."""
    for name in ("queue", "control", "bases", "keys", "arch_in", "quarantine", "tmpl"):
        (root / name).mkdir(parents=True)
    for name in ("dsn", "notify", "placeholder"):
        (root / "tmpl" / f"{name}.tmpl").write_text("text of %HOSTNAME%\n")
    (root / "protected.txt").write_text("example.org\nexample.net\n")
    (root / "keys" / "old.key").write_text("key")
    conf = root / "mailgw.conf"
    conf.write_text(
        f"""[path]
BasesPath={root}/bases
LicensePath={root}/keys
[locale]
[mailgw.access]
RelayRule=allow from any to @protected
[mailgw.ave]
[mailgw.forward]
ForwardRoute=* [127.0.0.1:1025]
[mailgw.limits]
MaximalIncomingRcptsPerMessage=77
[mailgw.network]
ListenOn=127.0.0.1:2525
Hostname=gw.example.org
Postmaster=postmaster@example.org
ProtectedDomains=file:{root}/protected.txt
[mailgw.options]
LogFilename={root}/mailgw.log
DSNTemplate={root}/tmpl/dsn.tmpl
[mailgw.path]
IncomingArchivePath={root}/arch_in
QueuePath={root}/queue
ControlPath={root}/control
[mailgw.timeouts]
[mailgw.policy]
Check=yes
AdminNotifyAddress=admin@example.org
NotifyFromAddress=gateway@example.org
ActionDisinfected=cure
ActionInfected=placeholder
ActionSuspicious=placeholder
ActionProtected=pass
ActionError=placeholder
ActionFiltered=remove
QuarantinePath={root}/quarantine
NotifyAdminTemplate={root}/tmpl/notify.tmpl
NotifyRecipientTemplate={root}/tmpl/notify.tmpl
NotifySenderTemplate={root}/tmpl/notify.tmpl
PlaceholderTemplate={root}/tmpl/placeholder.tmpl
[updater.path]
[updater.options]
[updater.report]
"""
    )
    return conf


def seen(root: Path) -> dict[str, tuple[bytes, float]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime) for path in sorted(root.rglob("*")) if path.is_file()
    } | {str(path): (b"", path.stat().st_mtime) for path in root.rglob("*") if path.is_dir()}


def queue_of(state: Path, number: int = 0) -> list[tuple[Stored, bytes]]:
    async def read() -> list[tuple[Stored, bytes]]:
        spool = SqliteSpool.open(str(state / "queue" / f"relay-{number}"), asyncio.get_running_loop())
        await spool.start()
        try:
            found = [each for each in await spool.listing(0, 100) if isinstance(each, Stored)]
            return [(each, await spool.content(each.content)) for each in found]
        finally:
            await spool.close()

    return asyncio.run(read())


@pytest.mark.feature("F-INST-05")
def test_documented_installation_is_taken_over_and_stays_as_it_was(tmp_path: Path) -> None:
    old, state, output = tmp_path / "old", tmp_path / "new", tmp_path / "etc" / "gatepost.toml"
    conf = old_installation(old)
    queue = old / "queue"
    (queue / "0001.eml").write_bytes(MESSAGE % b"beside")
    (queue / "0001.env").write_text("MAIL FROM:<bounce@client.example>\nRCPT TO:<one@example.org>\nClient: 192.0.2.9\n")
    (queue / "A77").write_bytes(MESSAGE % b"listed")
    (queue / "unknown.eml").write_bytes(MESSAGE % b"for whom")
    (queue / "noise").write_bytes(b"\x00\x01\x02")
    listing = tmp_path / "listing.txt"
    listing.write_text(
        "A77 QUE 99 01/11/26 10:00:00 192.0.2.5 <> -> <x@elsewhere.example> <y@example.org>\n1 queued messages\n"
    )
    (old / "arch_in" / "7.eml").write_bytes(MESSAGE % b"archived")
    (old / "quarantine" / "8.eml").write_bytes(MESSAGE % b"kept")
    os.utime(old / "quarantine" / "8.eml", (AT, AT))
    before = seen(old)
    arguments = ("migrate", "from", str(conf), "-o", str(output), "--state-path", str(state), "--listing", str(listing))

    shown = run_here(*arguments, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"{queue}: 2 would be taken" in shown.stdout
    assert not state.exists()
    assert not output.exists()

    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    assert f"{queue}: 2 taken" in done.stdout
    assert "unknown.eml: whom it is for is not known" in done.stdout
    assert "noise: it does not begin with the header of a message" in done.stdout
    assert "old.key: keys are added" in done.stdout
    assert seen(old) == before

    first, second = queue_of(state)
    assert [recipient.address for recipient in first[0].envelope.recipients] == ["one@example.org"]
    assert (first[0].envelope.sender, first[0].envelope.client.ip) == ("bounce@client.example", "192.0.2.9")
    assert first[0].envelope.direction is Direction.INBOUND
    assert first[1] == (MESSAGE % b"beside").replace(b"\n", b"\r\n")
    assert [recipient.address for recipient in second[0].envelope.recipients] == [
        "x@elsewhere.example",
        "y@example.org",
    ]
    assert (second[0].envelope.sender, second[0].envelope.direction) == ("", Direction.OUTBOUND)

    for name, code, subject in (("archive-in", "RCV", "archived"), ("quarantine", "ERR", "kept")):
        with Store(str(state / name)) as store:
            [row] = store.page(ItemFilter(), AT)
            assert (row.code, row.subject, row.recipients) == (code, subject, ("list@example.org",))
            assert b"".join(store.content(row.id)) == (MESSAGE % subject.encode()).replace(b"\n", b"\r\n")
            assert "recipients are those of To and Cc" in store.container(row.id).item.reason

    loaded = load(output)
    assert loaded.config is not None, loaded.errors
    config = loaded.config
    assert config.limits.maximal_incoming_rcpts_per_message == 77
    assert config.network.protected_domains == ("example.org", "example.net")
    assert config.relay.state_path == str(state)
    assert Path(config.options.dsn_template).read_text() == "text of %HOSTNAME%\n"
    assert str(old) not in "".join(line for line in output.read_text().splitlines() if not line.startswith("#"))
    assert run_here("config", "check", "-c", str(output)).returncode == 0

    (queue / "0002").write_bytes(MESSAGE % b"late")
    (queue / "0002.envelope").write_text("From: a@client.example\nTo: b@example.org, c@example.org\n")
    again = run_here(*arguments)
    assert f"{queue}: 1 taken, 2 taken before" in again.stdout
    assert f"{old / 'quarantine'}: 0 taken, 1 taken before" in again.stdout
    assert "stays as it is" in again.stdout
    assert len(queue_of(state)) == 3


@pytest.mark.feature("F-INST-05")
def test_earlier_gatepost_elsewhere_is_taken_with_queue_and_stores(tmp_path: Path) -> None:
    old, state, output = tmp_path / "old", tmp_path / "new", tmp_path / "gatepost.toml"
    with tarfile.open(SAMPLES / "format-1.tar.xz") as archive:
        archive.extractall(old, filter="data")
    conf = tmp_path / "old.toml"
    assert run_here("config", "init", "-o", str(conf), "--state-path", str(old)).returncode == 0
    conf.write_text(conf.read_text().replace("[policy]\n", f'[policy]\nquarantine_path = "{old}/quarantine"\n', 1))
    before = seen(old)
    done = run_here("migrate", "from", str(conf), "-o", str(output), "--state-path", str(state))
    assert done.returncode == 0, done.stderr
    assert seen(old) == before
    assert [each[0].id for each in queue_of(state)] == [ID, ID + 1]
    with Store(str(state / "quarantine")) as store:
        [row] = store.page(ItemFilter(), AT)
        assert b"".join(store.content(row.id)) == ITEM_CONTENT
    assert (
        "taken before, or is another's"
        in run_here("migrate", "from", str(conf), "-o", str(output), "--state-path", str(state)).stdout
    )


def test_mail_is_not_put_where_the_configuration_that_is_there_does_not_look(tmp_path: Path) -> None:
    old = old_installation(tmp_path / "old")
    output = tmp_path / "gatepost.toml"
    run_here("config", "init", "-o", str(output), "--state-path", str(tmp_path / "one"))
    arguments = ("migrate", "from", str(old), "-o", str(output), "--state-path")
    elsewhere = run_here(*arguments, str(tmp_path / "two"))
    assert (elsewhere.returncode, "mail would go to" in elsewhere.stderr) == (4, True)
    no_archive = run_here(*arguments, str(tmp_path / "one"))
    assert (no_archive.returncode, "names no store" in no_archive.stderr) == (4, True)
    assert not (tmp_path / "one").exists()


def test_keys_are_copied_where_no_template_of_the_console_reaches(tmp_path: Path) -> None:
    old, state = tmp_path / "old", tmp_path / "new"
    conf = old_installation(old)
    (old / "server.key").write_text("secret")
    (old / "server.pem").write_text("chain")
    tls = f"TLSCert={old}/server.pem\nTLSKey={old}/server.key\n"
    conf.write_text(conf.read_text().replace("[mailgw.options]\n", f"{tls}[mailgw.options]\n"))
    plan = plan_takeover(conf, state)
    state.mkdir()
    take_over(plan, {}, AT, dry_run=False)
    key = Path(plan.config.network.tls_key)
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("secret", 0o600)
    template = next(field for field in FIELDS["options"] if field.name == "dsn_template")
    assert find_refusal(template, str(key), str(state))
    assert not find_refusal(template, plan.config.options.dsn_template, str(state))


def test_files_of_doors_and_of_tls_policies_come_along(tmp_path: Path) -> None:
    old, state, conf = tmp_path / "old", tmp_path / "new", tmp_path / "old.toml"
    old.mkdir()
    for name in ("clients.pem", "shown.pem", "shown.key", "server.pem", "server.key"):
        (old / name).write_text(name)
    assert run_here("config", "init", "-o", str(conf), "--state-path", str(old / "state")).returncode == 0
    text = conf.read_text().replace(
        "[network]\n", f'[network]\ntls_cert = "{old}/server.pem"\ntls_key = "{old}/server.key"\n'
    )
    text += (
        f'\n[[door]]\nname = "a"\nkind = "milter"\naddress = "tcp:127.0.0.1:7357"\ntls = "on"\n'
        f'client_ca = "{old}/clients.pem"\nallow = ["127.0.0.1"]\n'
        f'\n[[tls_policy]]\ndestinations = ["b.example"]\nclient_cert = "{old}/shown.pem"\nclient_key = "{old}/shown.key"\n'
    )
    conf.write_text(text)
    plan = plan_takeover(conf, state)
    state.mkdir()
    take_over(plan, {}, AT, dry_run=False)
    [door], [policy] = plan.config.doors, plan.config.tls_policies
    for path in (door.client_ca, policy.client_cert, policy.client_key, plan.config.network.tls_key):
        assert path.startswith(str(state))
        assert Path(path).read_text() == Path(path).name
    again = load_text(plan.text, "new.toml").config
    assert again is not None
    assert (again.doors, again.tls_policies) == (plan.config.doors, plan.config.tls_policies)
    assert str(old) not in "".join(line for line in plan.text.splitlines() if not line.startswith("#"))


def test_configuration_of_this_very_gateway_is_not_another(tmp_path: Path) -> None:
    conf = tmp_path / "gatepost.toml"
    run_here("config", "init", "-o", str(conf), "--state-path", str(tmp_path / "state"))
    refused = run_here("migrate", "from", str(conf), "--state-path", str(tmp_path / "state"))
    assert (refused.returncode, "brings its format up" in refused.stderr) == (4, True)


def test_maildirs_and_mboxes_are_read_message_by_message(tmp_path: Path) -> None:
    (tmp_path / "box" / "cur").mkdir(parents=True)
    (tmp_path / "box" / "cur" / "1.host:2,S").write_bytes(
        b"Return-Path: <s@client.example>\nDelivered-To: r@example.org\nSubject: maildir\n\nx\n"
    )
    (tmp_path / "mbox").write_bytes(
        b"From s@client.example Mon Jan  1 00:00:00 2024\nSubject: one\n\ntext\n>From here\n\n"
        b"From t@client.example Tue Jan  2 00:00:00 2024\nSubject: two\n\nFrom the start\n\nFrom x Wed Jan  3 00:00:00 2024\nno header\n"
    )
    (tmp_path / "link").symlink_to("mbox")
    (tmp_path / "index.db").write_bytes(b"x")
    found = list(read_mail(tmp_path, {}))
    mails = {each.name: each for each in found if isinstance(each, Mail)}
    maildir = mails[str(tmp_path / "box" / "cur" / "1.host:2,S")]
    assert maildir.told == Told("s@client.example", ("r@example.org",))
    assert mails[f"{tmp_path}/mbox#1"].content == b"Subject: one\r\n\r\ntext\r\nFrom here\r\n"
    assert mails[f"{tmp_path}/mbox#2"].content == b"Subject: two\r\n\r\nFrom the start\r\n"
    assert {each.name for each in found if isinstance(each, Left)} == {f"{tmp_path}/link", f"{tmp_path}/mbox#3"}
    assert len(mails) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("MAIL FROM:<a@b.example> SIZE=1\nRCPT TO:<c@d.example> NOTIFY=NEVER\n", Told("a@b.example", ("c@d.example",))),
        ("sender=\nrecipient=c@d.example\nip=[192.0.2.1]\n", Told("", ("c@d.example",), "192.0.2.1")),
        ("From: <a@b.example>\r\nTo: c@d.example; e@d.example\r\nHelo: h\r\nIP: nonsense\r\n",
         Told("a@b.example", ("c@d.example", "e@d.example"), helo="h")),
    ],
)  # fmt: skip
def test_envelope_files(text: str, told: Told) -> None:
    assert parse_envelope(text.encode()) == told


@pytest.mark.parametrize("text", ["", "From: a@b.example\n", "To: a@b.example\n", "From: nobody\nTo: a@b.example\n"])
def test_envelope_files_that_say_too_little_are_no_guess(text: str) -> None:
    with pytest.raises(ValueError, match="no"):
        parse_envelope(text.encode())


def test_lists_of_the_documented_tools() -> None:
    found = parse_listing(
        "X1 INF 5 01/02/26 1.2.3.4 <a@b.example> -> <c@d.example>\n"
        "garbage -> <x@y.example>\n"
        "X2 WFC 5 01/02/26 12:00 <nobody> -> <c@d.example>\n"
        "X3 WFC 5 01/02/26 12:00 2001:db8::1 <a@b.example> -> nothing\n2 messages\n"
        "X4 WFC 5 01/02/26 12:00 2001:DB8::1 <> -> <c@d.example>,<e@d.example>\n"
        "X5 WFC 5 01/02/26 12:00 localhost <\ufffd@b.example> -> <c@d.example>\n"
        "X6 WFC 5 01/02/26 12:00 localhost <a@b.example> -> <c@d.example>\n"
    )
    assert found == {
        "X1": Told("a@b.example", ("c@d.example",), "1.2.3.4", code="INF"),
        "X4": Told("", ("c@d.example", "e@d.example"), "2001:db8::1", code="WFC"),
        "X6": Told("a@b.example", ("c@d.example",), "", code="WFC"),
    }


def test_header_says_whom_it_is_for_or_only_whom_it_shows() -> None:
    assert read_header(b"Return-Path: <>\r\nX-Envelope-To: a@b.example\r\n\r\n") == Told("", ("a@b.example",))
    assert read_header(b"From: x <f@b.example>\r\nTo: A <a@b.example>\r\nCc: c@b.example\r\n\r\n") == Told(
        "f@b.example", ("a@b.example", "c@b.example"), guessed=True
    )
    assert read_header(b"Subject: x\r\n\r\nTo: a@b.example\r\n") is None
