"""The ICAP door of a gateway: objects from the web before its filters, and what is on record of them."""

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR
from tests.support.ports import free_port
from tests.support.waiting import wait_for

from gatepost.wire.icap import Continue, IcapReader, IcapReply, build_options, build_respmod, parse_options, parse_url


class Web(NamedTuple):
    gateway: Gateway
    port: int

    def ask(self, data: bytes, name: str, content_type: str = "application/octet-stream") -> IcapReply:
        """Have one object looked at, as a proxy does; options first."""
        service = parse_url(f"icap://127.0.0.1:{self.port}/respmod")
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            reader = IcapReader()

            def reply(sent: list[bytes | memoryview]) -> IcapReply | Continue:
                connection.sendall(b"".join(sent))
                while (got := reader.feed(connection.recv(65536))) is None:
                    pass
                return got

            reader.expect()
            options = reply([build_options(service)])
            assert isinstance(options, IcapReply)
            first, rest = build_respmod(
                service, data, name=name, content_type=content_type, options=parse_options(options)
            )
            reader.expect(data)
            got = reply(first)
            while isinstance(got, Continue):
                got = reply(rest)
            return got


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    port = free_port()
    settings = f'[[door]]\nname = "web"\nkind = "icap"\naddress = "tcp:127.0.0.1:{port}"\n'
    with Gateway(tmp_path_factory.mktemp("icap"), 9, settings=settings) as gateway:
        yield Web(gateway, port)


def test_objects_from_the_web_are_scanned(web: Web) -> None:
    assert web.ask(b"GIF89a fine", "picture.gif", "image/gif").status == 204
    assert web.ask(b"plain text " * 10_000, "big.txt", "text/plain").status == 204
    for prefix in ("", "x" * 20_000):
        found = web.ask(EICAR if not prefix else b"From: a@b\nTo: c@d\nDate: x\n\n" + EICAR, f"{prefix[:3]}eicar.com")
        assert (found.status, found.http_status) == (200, 403), prefix[:3]
        assert "eicar" in found.fields["x-infection-found"].lower()
    wait_for(lambda: web.gateway.counter("service_asked_messages") == 4, "all to be counted")
    assert web.gateway.counter("mta_received_messages") == 0
    wait_for(lambda: len(web.gateway.lines("RECEIVED", "door=<web>")) == 4, "all to be in the log")
