"""Dovecot's LMTP server behind the gateway: one reply for each recipient after the data, and what depends on that."""

import contextlib
import os
import re
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.peers.conftest import open_directory, root_program
from tests.peers.postfix_program import body_of
from tests.support.certificates import Certificate, shared_authority
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for

ROUTES = "# Where mail goes on to;"
OWNER = 65534
"""nobody"""

DOVECOT = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = lmtp
listen = 127.0.0.1
first_valid_uid = 1
mail_location = maildir:{base}/mail/%u
mail_plugins = quota
ssl = yes
ssl_cert = <{certificate.chain}
ssl_key = <{certificate.key}
lmtp_user_concurrency_limit = 0
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {base}/users
}}
plugin {{
  quota = maildir:everything
}}
"""


class Peers(NamedTuple):
    """The gateway, where Dovecot keeps mail, and where reports go."""

    gateway: Gateway
    base: Path
    home: Sink

    def mails(self, user: str) -> list[bytes]:
        return [file.read_bytes() for file in (self.base / "mail" / address(user) / "new").glob("*")]

    def arrived(self, user: str, subject: str) -> bytes:
        wanted = f"\nSubject: {subject}\n".encode()
        try:
            return wait_for(lambda: [m for m in self.mails(user) if wanted in m], f"mail {subject!r} for {user}")[0]
        except AssertionError as error:
            log = (self.base / "log").read_text(errors="replace")
            raise AssertionError(f"{error}\n{log[-2500:]}") from None


def address(user: str) -> str:
    return f"{user}@lmtp.example.org"


@contextlib.contextmanager
def dovecot(base: Path, certificate: Certificate) -> Iterator[int]:
    """Run an instance with the users `ann`, `ben` and `full`, whose mailbox holds next to nothing; give its port."""
    program = root_program("dovecot")
    root_program("/usr/lib/dovecot/lmtp")
    for directory in ("run", "state", "mail"):
        (base / directory).mkdir()
    os.chown(base / "mail", OWNER, OWNER)
    rules = {"ann": "*:storage=1G", "ben": "*:storage=1G", "full": "*:storage=1K"}
    rows = (f"{address(u)}::{OWNER}:{OWNER}::{base}/mail::userdb_quota_rule={r}\n" for u, r in rules.items())
    (base / "users").write_text("".join(rows))
    port = free_port()
    (base / "dovecot.conf").write_text(DOVECOT.format(base=base, certificate=certificate, port=port))
    process = subprocess.Popen(
        [program, "-F", "-c", str(base / "dovecot.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:

        def listens() -> bool:
            assert process.poll() is None, f"Dovecot ended with {process.returncode}"
            with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.LMTP("127.0.0.1", port, timeout=5):
                return True
            return False

        wait_for(listens, "Dovecot to listen")
        yield port
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    authority = shared_authority()
    with open_directory("dovecot") as base, dovecot(base, authority.issue("127.0.0.1")) as port, Sink() as home:
        route = f'[[route]]\nrecipients = ["lmtp.example.org"]\nnext_hop = "[127.0.0.1:{port}]"\ntransport = "lmtp"\n\n'
        verified = f'\n[tls]\nca_file = "{authority.file}"\noutgoing = "may"\n'
        verified += '\n[[tls_policy]]\ndestinations = ["lmtp.example.org"]\nlevel = "verify"\n'
        with Gateway(
            tmp_path_factory.mktemp("lmtp") / "gw", home.port, settings=verified, replace={ROUTES: route + ROUTES}
        ) as gateway:
            yield Peers(gateway, base, home)
            wait_for(lambda: gateway.queue() == [], "an empty queue")
            assert gateway.stop() == 0


def test_content_arrives_byte_for_byte_over_verified_tls(peers: Peers) -> None:
    contents = {f"lmtp {n}": plain(f"lmtp {n}", ".\r\n..\r\n.x\r\n", n * 90_000) for n in range(5)}
    for content in contents.values():
        peers.gateway.send(content, [address("ann"), address("ben")])
    for subject, content in contents.items():
        for user in ("ann", "ben"):
            mail = peers.arrived(user, subject)
            assert body_of(mail) == body_of(content)
            assert re.search(rb"\(using TLSv1\.3 with cipher TLS_\w+ \([^\n]*\)", mail), mail[:600]
            assert b"with LMTPS" in mail


def test_each_recipient_has_a_result_of_its_own(peers: Peers) -> None:
    """One gets it, one is unknown at RCPT, one is refused after the data."""
    recipients = [address(user) for user in ("ann", "nobody", "full", "ben")]
    queue_id = peers.gateway.send(plain("own results", size=20_000), recipients, sender="own@example.net")
    for user in ("ann", "ben"):
        peers.arrived(user, "own results")
    wait_for(lambda: len(peers.gateway.lines("status=failed", queue_id)) == 2, "both failures")
    wait_for(lambda: len(peers.gateway.lines("status=sent", queue_id)) == 2, "both successes")
    reports = wait_for(lambda: [m for m in list(peers.home.mails) if m.recipients == ["own@example.net"]], "the report")
    failed = re.findall(
        rb"Final-Recipient: rfc822; (\S+)\r\nAction: failed\r\nStatus: (\S+)\r\n", b"".join(m.content for m in reports)
    )
    assert sorted(failed) == sorted([(address("full").encode(), b"5.2.2"), (address("nobody").encode(), b"5.1.1")])
    assert peers.mails("full") == []
    assert [sum(b"\nSubject: own results\n" in m for m in peers.mails(user)) for user in ("ann", "ben")] == [1, 1]
