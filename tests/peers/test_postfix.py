"""A real Postfix in front of the gateway and behind it."""

import contextlib
import os
import pwd
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, free_port
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

MAIN = """\
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/log
maillog_file_prefixes = {base}
myhostname = postfix.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{next_hop}
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_host_lookup = native
disable_dns_lookups = yes
multi_instance_enable = yes
"""


@contextlib.contextmanager
def postfix_instance(program: str, base: Path, next_hop: int) -> Iterator[int]:
    """Run a throw-away instance that sends everything on to a port; give its own."""
    port = free_port()
    etc = base / "etc"
    for directory in (etc, base / "spool", base / "data"):
        directory.mkdir(parents=True)
    for parent in (base, *list(base.parents)[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    try:
        owner = pwd.getpwnam("postfix")
    except KeyError:
        pytest.skip("there is no user postfix")
    os.chown(base / "data", owner.pw_uid, owner.pw_gid)
    (etc / "main.cf").write_text(MAIN.format(base=base, next_hop=next_hop))
    (etc / "master.cf").write_text(MASTER.format(port=port))
    started = subprocess.run(
        [program, "-c", str(etc), "start"], check=False, capture_output=True, text=True, timeout=60
    )
    assert started.returncode == 0, started.stderr[-1500:]
    try:
        wait_for(lambda: _listens(port), "Postfix to listen", 30)
        yield port
    finally:
        subprocess.run([program, "-c", str(etc), "stop"], check=False, capture_output=True, timeout=60)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, timeout=5):
        return True
    return False


def test_postfix_as_next_hop(tmp_path: Path, postfix: str) -> None:
    with (
        Sink() as sink,
        postfix_instance(postfix, tmp_path / "pf", sink.port) as port,
        Gateway(tmp_path / "gw", port) as gateway,
    ):
        contents = [plain(f"to postfix {number}", ".\r\n..\r\n", size=number * 20_000) for number in range(10)]
        for content in contents:
            gateway.send(content)
        wait_for(lambda: len(sink.mails) == 10, "all mails behind Postfix", 60)
        for content in contents:
            # Postfix adds a Date field of its own to the header.
            body = content.partition(b"\r\n\r\n")[2]
            assert sum(mail.content.partition(b"\r\n\r\n")[2] == body for mail in sink.mails) == 1


def test_postfix_as_sender(tmp_path: Path, postfix: str) -> None:
    with (
        Sink() as sink,
        Gateway(tmp_path / "gw", sink.port) as gateway,
        postfix_instance(postfix, tmp_path / "pf", gateway.port) as port,
    ):
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            for number in range(10):
                client.sendmail(
                    "a@example.net", ["b@example.org", "c@example.org"], plain(f"from postfix {number}", size=9000)
                )
        wait_for(lambda: sum(sink.recipients().values()) == 20, "all mails", 60)
        assert set(sink.recipients().values()) == {10}
        wait_for(lambda: gateway.queue() == [], "an empty queue")
