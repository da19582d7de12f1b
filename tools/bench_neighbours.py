"""What stands around the gateway in `make bench ARGS=--more`: a DNS server, and bridges that speak TLS for the driver.

Each runs in a process of its own, so that its CPU is not counted as the gateway's.

    python bench_neighbours.py dns              prints its address, answers until it is killed
    python bench_neighbours.py tls CERT KEY IN GATEWAY OUT SINK     all four are ports on 127.0.0.1
"""

import asyncio
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.dns import StubDns

HOST = "127.0.0.1"
SENDER_DOMAINS = 13
"""The driver's senders are in src0.example … src12.example."""
READ_BYTES = 256 * 1024

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def serve_dns() -> None:
    """Answer what the checks ask. Nothing may be remembered (TTL 0): every session asks."""
    with StubDns(negative_ttl=0) as dns:
        dns.add_ptr(HOST, "client.example.net.", ttl=0)
        dns.add("client.example.net", "A", HOST, ttl=0)
        for number in range(SENDER_DOMAINS):
            dns.add(f"src{number}.example", "MX", "10 mx.example.net.", ttl=0)
        dns.add("mx.example.net", "A", "192.0.2.25", ttl=0)
        print(dns.address, flush=True)
        threading.Event().wait()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def _join(one: Streams, other: Streams) -> None:
    await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))


async def _reply(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    while line[3:4] == b"-":
        line = await reader.readline()
    return line


async def _serve_tls(certificate: str, key: str, ports: list[int]) -> None:
    enter, gateway, leave, sink = ports
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    accepting.load_cert_chain(certificate, key)
    asking = ssl.create_default_context()
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE

    async def to_gateway(driver_reader: asyncio.StreamReader, driver_writer: asyncio.StreamWriter) -> None:
        """Greet and encrypt for the driver, which then begins with its own EHLO."""
        reader, writer = await asyncio.open_connection(HOST, gateway)
        greeting = await _reply(reader)
        for command in (b"EHLO bridge.example\r\n", b"STARTTLS\r\n"):
            writer.write(command)
            await _reply(reader)
        await writer.start_tls(asking)
        driver_writer.write(greeting)
        await _join((driver_reader, driver_writer), (reader, writer))

    async def to_sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Offer STARTTLS to the gateway, then let it talk to the sink."""
        writer.write(b"220 bridge ESMTP\r\n")
        await reader.readline()
        writer.write(b"250-bridge\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 Ready\r\n")
        await writer.start_tls(accepting)
        behind = await asyncio.open_connection(HOST, sink)
        await _reply(behind[0])
        await _join((reader, writer), behind)

    def quietly(serve: Serve) -> Serve:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            except (OSError, ssl.SSLError):
                writer.close()

        return served

    servers = [
        await asyncio.start_server(quietly(serve), HOST, port, limit=READ_BYTES, backlog=1024)
        for port, serve in ((enter, to_gateway), (leave, to_sink))
    ]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    if sys.argv[1] == "dns":
        serve_dns()
    else:
        uvloop.run(_serve_tls(sys.argv[2], sys.argv[3], [int(port) for port in sys.argv[4:8]]))
