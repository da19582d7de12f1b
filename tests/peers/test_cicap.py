"""Mail through a gateway with a real ICAP server: c-icap's echo service, and its virus_scan over clamd."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.peers.clamd_program import MARKER, Clamd
from tests.peers.conftest import program
from tests.support.gateway import Gateway
from tests.support.mails import plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.antivirus.engine import CLEAN, Connection, Outcome, Report, ScanObject
from gatepost.antivirus.remotes import make_remotes
from gatepost.config.engines import EngineKind, EngineTable
from gatepost.relay.engine_probe import connect

CONFIGURATION = """
PidFile {place}/pid
CommandsSocket {place}/commands
Port 127.0.0.1:{port}
TmpDir {place}
ServerLog {place}/server.log
AccessLog {place}/access.log
ModulesDir {modules}
ServicesDir {modules}
TemplateDir /usr/share/c_icap/templates/
TemplateDefaultLanguage en
LoadMagicFile /etc/c-icap/c-icap.magic
StartServers 1
MaxServers 1
ThreadsPerChild 8
MaxKeepAliveRequests 100
KeepAliveTimeout 60
Service echo srv_echo.so
Service antivirus_module virus_scan.so
ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.PassOnError off
virus_scan.MaxObjectSize 5M
virus_scan.DefaultEngine clamd
Module common clamd_mod.so
clamd_mod.ClamdSocket {socket}
"""


class Place(NamedTuple):
    port: int
    gateway: Gateway
    sink: Sink


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory: Path = tmp_path_factory.mktemp("icap")
    server = program("c-icap")
    found = sorted(Path("/usr/lib").glob("*/c_icap/virus_scan.so"))
    if not found:
        pytest.skip("c-icap's virus_scan is not installed: make peers")
    port = free_port()
    with Clamd(directory) as clamd, Sink() as sink:
        file = directory / "c-icap.conf"
        file.write_text(CONFIGURATION.format(place=directory, port=port, modules=found[0].parent, socket=clamd.socket))
        process = subprocess.Popen(
            [server, "-N", "-D", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            engine = f'\n[[engine]]\nname = "gate"\nkind = "icap"\naddress = "icap://127.0.0.1:{port}/avscan"\n'
            with Gateway(directory / "gw", sink.port, settings=engine) as gateway:
                wait_for(lambda: state(gateway)["state"] == "up", "the service to answer")
                yield Place(port, gateway, sink)
                assert gateway.stop() == 0
        finally:
            process.kill()
            process.wait(120)


def state(gateway: Gateway) -> dict[str, str]:
    engine: dict[str, str] = gateway.status()["relays"][0]["engines"][0]
    return engine


def test_what_the_service_blocks_is_infected(place: Place) -> None:
    assert state(place.gateway)["version"]
    for size in (0, 5_000):  # within its preview, and beyond
        place.gateway.send(plain(f"fine {size}", size=size))
        bad = place.gateway.send(with_attachment(b"x" * size + MARKER, "a.txt"))
        wait_for(partial(place.gateway.lines, "SCANNED", bad), "the verdict")
        line = place.gateway.lines("SCANNED", bad)[0]
        assert 'status="infected"' in line
        assert 'names="Test.Marker.UNOFFICIAL"' in line
    wait_for(lambda: len(place.sink.mails) == 2, "the clean mail")
    assert not any(MARKER in mail.content for mail in place.sink.mails)


class Direct:
    """Connects as the relay does."""

    def __init__(self, table: EngineTable) -> None:
        self._table = table
        self.asked = 0

    def connect(self, _: str) -> Connection:
        async def work() -> Connection:
            return Connection(await connect(self._table, "", asyncio.get_running_loop()), "v")

        self.asked += 1
        return asyncio.run(work())


@pytest.mark.parametrize("service", ["echo", "avscan"])
def test_many_objects_over_one_connection(place: Place, service: str) -> None:
    table = EngineTable(name="gate", kind=EngineKind.ICAP, address=f"icap://127.0.0.1:{place.port}/{service}")
    direct = Direct(table)
    (remote,) = make_remotes([table])
    remote.attach(direct)

    def scan(data: bytes) -> Report:
        deadline = time.monotonic() + 20
        remote.begin(ScanObject(data, name="räum auf.txt", content_type="text/plain"), deadline)
        return remote.finish(deadline)

    try:
        for size in (1, 1023, 1024, 1025, 5_000, 300_000):
            assert scan(b"a" * size) is CLEAN, size
        report = scan(MARKER)
        assert report.outcome is (Outcome.INFECTED if service == "avscan" else Outcome.CLEAN)
        assert direct.asked == 1
    finally:
        remote.abandon()


def test_a_service_that_is_not_there_is_trouble(place: Place) -> None:
    table = EngineTable(name="gate", kind=EngineKind.ICAP, address=f"icap://127.0.0.1:{place.port}/nothing")
    (remote,) = make_remotes([table])
    remote.attach(Direct(table))
    deadline = time.monotonic() + 20
    remote.begin(ScanObject(b"x"), deadline)
    report = remote.finish(deadline)
    remote.abandon()
    assert (report.outcome, report.wait) == (Outcome.ERROR, True)
