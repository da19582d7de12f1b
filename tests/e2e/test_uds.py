"""UDS through a real gateway and a real server: what is sent, what it brings, who uses it, and silence without consent."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.gateway import Gateway, run_here
from tests.support.sink import Sink
from tests.support.uds import UdsServer, Wire
from tests.support.waiting import wait_for

STRANGERS = {'# trusted_networks = ["10.0.0.0/8"]': 'trusted_networks = ["10.0.0.0/8"]'}
"""Loopback is not our own network: mail from it is inbound, and checked."""
TEXT = """\
Dear colleague, the quarterly barometer calibration of every lighthouse along the northern coast was postponed because
several lanterns needed fresh turquoise varnish before winter. Please remind the harbour cartographers that crimson
buoys remain forbidden near the granite pier, and that marmalade sandwiches are served after the evening lecture about
migrating puffins. Whoever borrowed the brass sextant should return it to the librarian without further questions.
"""


def mail(text: str = TEXT, subject: str = "Lighthouse barometers") -> bytes:
    attachment = base64.encodebytes(b"confidential blueprint of the pier\n" * 40).decode()
    return f"""\
From: Wilhelmina Featherstone <wilhelmina@puffins.example>
To: user@example.org
Date: Sun, 22 Nov 2026 08:00:00 +0000
Message-ID: <{abs(hash(text))}@puffins.example>
Subject: {subject}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=PIECE

--PIECE
Content-Type: text/plain

{text}
--PIECE
Content-Type: application/octet-stream; name=blueprint-granite.pdf
Content-Disposition: attachment; filename=blueprint-granite.pdf
Content-Transfer-Encoding: base64

{attachment}
--PIECE--
""".replace("\n", "\r\n").encode()


class Scene(NamedTuple):
    gateway: Gateway
    sink: Sink
    server: UdsServer
    wire: Wire
    dead: Wire

    def deliver(self, content: bytes, *recipients: str) -> dict[str, bytes]:
        """Send a mail and return the header that each recipient gets."""
        before = len(self.sink.mails)
        self.gateway.send(content, list(recipients or ("user@example.org",)))
        wanted = set(recipients or ("user@example.org",))

        def got() -> dict[str, bytes]:
            mails = self.sink.mails[before:]
            found = {recipient: each.header for each in mails for recipient in each.recipients}
            return found if wanted <= found.keys() else {}

        return wait_for(got, "the mail to be delivered")

    def servers(self) -> dict[str, str]:
        checks = self.gateway.status()["relays"][0]["network_checks"]["checks"]
        return {each["server"].rpartition(":")[2]: each["state"] for each in checks["UDS"]["servers"]}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("uds")
    key, keys = directory / "own.key", directory / "keys"
    made = run_here("uds", "key", "gw.example.org", str(key), "--report", "--keys", str(keys))
    assert made.returncode == 0, made.stderr
    with (
        Sink() as sink,
        UdsServer(directory, key, keys) as server,
        Wire(server.port) as wire,
        Wire(1) as dead,
    ):
        dead.cut = True
        settings = f"""
[antispam]
filter_uds_enabled = true
filter_uds_timeout = "1 s"

[uds]
server = ["127.0.0.1:{dead.port}", "127.0.0.1:{wire.port}"]
key_file = "{key}"
reporters = 1

[[group]]
name = "without"
recipients = ["without@example.org"]
use_uds = false
"""
        # Nothing but UDS: what else is thought of these mails is not asked here.
        others = ("spf", "reverse_dns", "authentication", "headers", "content", "images", "learned")
        replace = {**STRANGERS, "[policy]\n": "[policy]\n" + "".join(f"use_{each} = false\n" for each in others)}
        with Gateway(
            directory / "gw", sink.port, settings=settings, replace=replace, antispam=True, spam_fields=True
        ) as gateway:
            yield Scene(gateway, sink, server, wire, dead)


def methods(header: bytes) -> list[str]:
    return [each.decode().strip() for each in re.findall(rb"(?im)^X-SpamTest-Method:([^\r\n]*)", header)]


@pytest.mark.feature("F-AS-20")
def test_a_dead_first_server_is_skipped(scene: Scene) -> None:
    dead, alive = str(scene.dead.port), str(scene.wire.port)
    wait_for(lambda: scene.servers() == {dead: "dead", alive: "up"}, "the servers to be probed")
    before = len(scene.dead.passed), len(scene.wire.passed)
    scene.deliver(mail("nothing that anybody has seen " * 3 + TEXT[100:]))
    assert len(scene.wire.passed) > before[1], "the other one is asked"
    assert len(scene.dead.passed) == before[0], "no mail waits for it"


@pytest.mark.feature("F-AS-19", "F-GRP-07")
def test_reported_spam_is_known_to_the_groups_that_use_it(scene: Scene, tmp_path: Path) -> None:
    assert "UDS" not in methods(scene.deliver(mail())["user@example.org"]), "nobody has reported it"
    file = tmp_path / "spam.eml"
    file.write_bytes(mail())
    told = scene.gateway.command("uds", "report", str(file))
    assert f"127.0.0.1:{scene.wire.port}: reported" in told.stdout, told.stderr
    edited = mail(TEXT.replace("crimson", "yellow").replace("Dear colleague", "Hello Bob"), "Another subject")
    headers = scene.deliver(edited, "user@example.org", "without@example.org")
    assert "UDS" in methods(headers["user@example.org"])
    assert "UDS" not in methods(headers["without@example.org"])
    assert b"Status-Extended: spam" in headers["user@example.org"]
    assert b"Status-Extended: spam" not in headers["without@example.org"]


@pytest.mark.feature("F-AS-19")
def test_what_is_sent_holds_nothing_of_a_mail(scene: Scene) -> None:
    before = len(scene.wire.passed)
    content = mail("An entirely different matter. " + TEXT)
    scene.deliver(content)
    captured = scene.wire.passed[before:]
    assert captured
    words = {word.lower() for word in re.findall(rb"[A-Za-z]{5,}", content)} | {b"user@example.org", b"127.0.0.1"}
    assert {b"lighthouse", b"wilhelmina", b"puffins", b"blueprint", b"confidential", b"example"} <= words | {
        b"confidential"
    }
    words.add(b"confidential")
    stream = b"\0".join(captured)
    for word in sorted(words):
        forms = (
            word,
            base64.b64encode(word)[: len(word) // 3 * 4],
            word.hex().encode(),
            word.decode().encode("utf-16-le"),
        )
        assert not any(form in stream.lower() for form in forms if len(form) >= 5), word
    assert {len(each) for each in captured} <= {448, 208}, "all of one size, whatever they are about"


def test_reports_survive_a_restart_of_the_server(scene: Scene) -> None:
    assert scene.server.stop() == 0
    scene.server.start()
    assert "UDS" in methods(scene.deliver(mail())["user@example.org"])


def test_commands_tell_what_works(scene: Scene) -> None:
    shown = scene.gateway.command("uds", "status")
    assert re.search(rf"127.0.0.1:{scene.wire.port} +up +[0-9.]+ ms", shown.stdout)
    tried = scene.gateway.command("uds", "test")
    assert f"127.0.0.1:{scene.wire.port}: works" in tried.stdout
    assert tried.returncode == 4, "one of the servers does not work"
    server = run_here("uds", "status", "--state", str(scene.server.state))
    assert "gw.example.org" in server.stdout


@pytest.mark.feature("F-AS-19")
def test_switched_off_it_sends_nothing(scene: Scene) -> None:
    """The last test of the module: it takes UDS out of service."""
    config = scene.gateway.config
    config.write_text(config.read_text().replace("filter_uds_enabled = true", "filter_uds_enabled = false"))
    scene.gateway.ask("reload")
    wait_for(lambda: "UDS" not in scene.gateway.status()["relays"][0]["network_checks"]["checks"], "the reload")
    before = len(scene.dead.passed), len(scene.wire.passed)
    assert "UDS" not in methods(scene.deliver(mail())["user@example.org"]), "known, and not asked for"
    refused = scene.gateway.command("uds", "test")
    assert refused.returncode == 3
    assert "off" in refused.stderr
    assert (len(scene.dead.passed), len(scene.wire.passed)) == before
