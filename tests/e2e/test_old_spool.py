"""Mail in the queue of an earlier installation, and of an earlier version, is delivered by this one."""

from pathlib import Path

import apsw
import pytest
from tests.support.gateway import Gateway, run_here
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.migration.carrying import plan_steps
from gatepost.migration.parts import PARTS
from gatepost.spool.schema import VERSION

OLD = """[path]
BasesPath={root}/bases
LicensePath={root}/keys
[mailgw.access]
RelayRule=allow from any to @protected
[mailgw.forward]
ForwardRoute=* [127.0.0.1:1025]
[mailgw.network]
ListenOn=127.0.0.1:2525
Hostname=old.example.org
Postmaster=postmaster@example.org
ProtectedDomains=example.org
[mailgw.options]
DSNTemplate={root}/dsn.tmpl
[mailgw.path]
QueuePath={root}/queue
ControlPath={root}/control
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
NotifyAdminTemplate={root}/dsn.tmpl
NotifyRecipientTemplate={root}/dsn.tmpl
NotifySenderTemplate={root}/dsn.tmpl
PlaceholderTemplate={root}/dsn.tmpl
QuarantinePath={root}/quarantine
"""


@pytest.mark.feature("F-INST-05")
def test_old_spool_entry_is_delivered_by_this_version(tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "queue").mkdir(parents=True)
    (old / "dsn.tmpl").write_text("text\n")
    (old / "mailgw.conf").write_text(OLD.format(root=old))
    (old / "queue" / "5.eml").write_bytes(b"From: a@client.example\nSubject: waited\n\nfor a new gateway\n")
    (old / "queue" / "5.env").write_text("MAIL FROM:<a@client.example>\nRCPT TO:<b@example.org>\n")
    with Sink() as sink:
        gateway = Gateway(tmp_path / "new", sink.port)
        places = ("--state-path", str(gateway.state), "--output", str(gateway.config))
        taken = run_here("migrate", "from", str(old / "mailgw.conf"), *places)
        assert taken.returncode == 0, taken.stderr
        # The database becomes the one of the first version that kept mail in it.
        database = gateway.state / "queue" / "relay-0" / "spool.db"
        connection = apsw.Connection(str(database))
        for statement in plan_steps(PARTS[0], VERSION, 1):
            connection.execute(statement)
        connection.execute("PRAGMA user_version=1")
        connection.close()
        with gateway:
            wait_for(lambda: len(sink.mails) == 1, "the old message")
            [mail] = sink.mails
            assert (mail.sender, mail.recipients) == ("a@client.example", ["b@example.org"])
            assert mail.content.endswith(b"Subject: waited\r\n\r\nfor a new gateway\r\n")
            assert any("was brought from format 1 to" in line for line in gateway.log().splitlines())
            wait_for(lambda: not gateway.queue(), "an empty queue")
        assert (old / "queue" / "5.eml").exists()
    [copy] = (gateway.state / "migrations").glob("*/*-queue-spool.db")
    connection = apsw.Connection(str(copy))
    assert connection.pragma("user_version") == 1
    connection.close()
