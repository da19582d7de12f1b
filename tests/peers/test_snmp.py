"""Real snmpd, snmpwalk and snmptrapd: what SNMP shows of a gateway, and the notifications that arrive."""

import datetime as dt
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from tests.peers.conftest import open_directory, program, root_program
from tests.support.feeds import Feed
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.cli import update_job
from gatepost.control.mib import TRAPS, build_mib
from gatepost.control.snmp_traps import LEAST_MESSAGES, Trap
from gatepost.control.statistics import NAMES

BASE = (1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 25)
ROOT = "." + ".".join(map(str, BASE))
SECRET = "a-word-nobody-sees"
MIBS = Path(__file__).parents[1] / "support/vendor/mibs"


class Master:
    """An snmpd of our own, with the receiver of its notifications."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port, self.trap_port = free_port(), free_port()
        self.socket = base / "agentx"
        self.mib = base / "MAILGW-MIB.txt"
        self.mib.write_text(build_mib(BASE))
        self.traps_file = base / "traps"
        self._agent: subprocess.Popen[bytes] | None = None
        self._env = {**os.environ, "SNMP_PERSISTENT_DIR": str(base / "state"), "MIBDIRS": str(MIBS), "MIBS": ""}
        (base / "snmpd.conf").write_text(
            f"master agentx\nagentXSocket {self.socket}\nrocommunity public 127.0.0.1\n"
            f"trap2sink 127.0.0.1:{self.trap_port} public\nagentaddress udp:127.0.0.1:{self.port}\n"
        )
        (base / "snmptrapd.conf").write_text("disableAuthorization yes\nformat2 %v\\n\n")

    def __enter__(self) -> Self:
        command = [root_program("snmptrapd"), "-f", "-On", "-Lf", str(self.traps_file), "-C", "-c"]
        self._receiver = subprocess.Popen(
            [*command, str(self.base / "snmptrapd.conf"), f"udp:127.0.0.1:{self.trap_port}"], env=self._env
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._receiver.terminate()
        self._receiver.wait(120)

    def start(self) -> None:
        command = [
            root_program("snmpd"),
            "-f",
            "-Lf",
            str(self.base / "log"),
            "-C",
            "-c",
            str(self.base / "snmpd.conf"),
        ]
        self._agent = subprocess.Popen(command, env=self._env)
        wait_for(self.socket.exists, "the socket of snmpd")

    def stop(self) -> None:
        assert self._agent is not None
        self._agent.terminate()
        self._agent.wait(120)
        self.socket.unlink(missing_ok=True)

    def walk(self, below: str = "") -> dict[str, str]:
        """Return OID below our root -> value."""
        command = [program("snmpbulkwalk"), "-v2c", "-cpublic", "-t2", "-r1", "-On", "-OQ", "-Ot", "-Oe"]
        done = subprocess.run(
            [*command, f"127.0.0.1:{self.port}", ROOT + below],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        rows = re.findall(rf"^{re.escape(ROOT)}((?:\.\d+)+) = (.*)$", done.stdout, re.MULTILINE)
        return {name: value.strip('"') for name, value in rows if "No Such" not in value}

    def traps(self) -> str:
        return self.traps_file.read_text() if self.traps_file.exists() else ""

    def has(self, trap: Trap) -> bool:
        return bool(re.search(rf"{re.escape(ROOT)}\.0\.{trap.value}\b", self.traps()))


class Scene(NamedTuple):
    master: Master
    gateway: Gateway
    feed: Feed


SETTINGS = """
[snmp]
snmp_services = {services}
snmp_traps = ["all"]
alert_threshold = 40

[agentx]
socket = "{socket}"
ping_interval = "1 s"

[updater.options]
update_server_url = "{feed}"
use_update_server_url_only = true

[updater.report]
report_file_name = "{report}"
"""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with open_directory("snmp") as base, Master(base) as master, Sink() as sink:
        feed = Feed(base / "feed")
        feed.offer(1, b"one")
        settings = SETTINGS.format(services='["all"]', socket=master.socket, feed=feed.place, report=base / "report")
        replace = {"[ave]\n": f'[ave]\narchive_passwords = ["{SECRET}"]\ntrusted_keys = ["{feed.public}"]\n'}
        with Gateway(base / "gateway", sink.port, settings=settings, replace=replace) as gateway:
            wait_for(lambda: "snmp: registered" in gateway.log(), "the sub-agent")
            yield Scene(master, gateway, feed)


def index(name: str) -> str:
    return f".{len(name)}" + "".join(f".{ord(letter)}" for letter in name)


@pytest.mark.feature("F-SNMP-02")
def test_statistics_and_configuration_equal_file_and_settings(scene: Scene) -> None:
    for number in range(3):
        scene.gateway.send(plain(subject=f"mail {number}"))
    wait_for(lambda: scene.gateway.counter("mta_sent_messages") == 3, "three mails")

    def differing() -> list[str]:
        told = scene.gateway.ask("statistics")
        shown = scene.master.walk(".2.4")
        names = [name for name in NAMES if isinstance(told[name], int) and not name.startswith("time_")]
        assert len(names) > 50
        return [name for name in names if shown.get(f".2.4.1.2{index(name)}") != str(told[name])]

    wait_for(lambda: not differing(), "the numbers of one moment in both")
    told = scene.gateway.ask("statistics")
    messages = scene.master.walk(".2.1")
    assert messages[".2.1.1.0"] == "3"
    assert int(messages[".2.1.7.0"]) == told["mta_received_bytes"] // 3
    resources = scene.master.walk(".2.2")
    assert int(resources[".2.2.4.0"]) > 0, "CPU of all processes"
    settings = scene.master.walk(".1")
    assert settings[f".1.1.1.4{index('limits')}.0{index('maximal_incoming_sessions_per_ip')}"] == "400"
    assert settings[f".1.1.1.4{index('snmp')}.0{index('alert_threshold')}"] == "40"
    assert len([name for name in settings if name.startswith(f".1.1.1.4{index('group')}.1.")]) > 20, "the policy group"
    hidden = settings[f".1.1.1.4{index('ave')}.0{index('archive_passwords')}"]
    assert hidden
    assert not [value for value in settings.values() if SECRET in value]


@pytest.mark.feature("F-SNMP-03")
def test_update_and_admin_objects_have_iso_dates(scene: Scene) -> None:
    shown = scene.master.walk(".3") | scene.master.walk(".4")
    bases = scene.gateway.ask("databases.show")["sets"]
    assert shown[".3.2.3.0"] == max(row["issued"] for row in bases if row["kind"] == "antivirus")
    assert int(shown[".3.2.2.0"]) > 0
    for name in (".3.2.1.0", ".4.1.1.0"):
        assert dt.datetime.fromisoformat(shown[name]).tzinfo is not None
    assert dt.datetime.fromisoformat(shown[".4.1.1.0"]).timestamp() == int(scene.gateway.status()["started_at"])
    assert int(shown[".4.1.2.0"]) > 0


@pytest.mark.feature("F-SNMP-05")
@pytest.mark.feature("F-SNMP-06")
def test_notifications_of_start_reload_error_outbreak_and_stop(scene: Scene) -> None:
    master, gateway, _ = scene
    wait_for(lambda: master.has(Trap.PRODUCT_START), "the notification of the start")
    gateway.edit("alert_threshold = 40", "alert_threshold = 30")
    gateway.ask("reload")
    wait_for(lambda: master.has(Trap.CONFIG_RELOADED), "the notification of a reload")
    for number in range(LEAST_MESSAGES):
        gateway.send(with_attachment(EICAR, subject=f"flood {number}"))
    wait_for(lambda: master.has(Trap.OUTBREAK_ALERT), "the alert")
    percent = re.search(rf"{re.escape(ROOT)}\.5\.1\.0 = Gauge32: (\d+)", master.traps())
    assert percent
    assert 30 < int(percent[1]) <= 100
    wait_for(lambda: ".2.3.1.1.2.10" in master.walk(".2.3"), "the latest infections")
    latest = master.walk(".2.3")
    assert "EICAR" in latest[".2.3.1.1.2.1"].upper()
    assert latest[".2.3.2.1.2.1"] == "127.0.0.1"
    assert len([name for name in latest if name.startswith(".2.3.1.1.2.")]) == 10
    wait_for(lambda: master.walk(".2.1")[".2.1.2.0"] == str(LEAST_MESSAGES), "all of them counted")


@pytest.mark.feature("F-SNMP-05")
def test_notifications_of_errors_databases_and_updates(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    master, gateway, feed = scene
    assert gateway.command("recv-off").returncode == 0
    wait_for(lambda: master.has(Trap.PRODUCT_ERROR), "the notification of an error")
    assert "reception is switched off" in master.traps()
    assert gateway.command("recv-on").returncode == 0
    monkeypatch.setattr(update_job, "try_sets", lambda *_: None)  # test_update_gateway.py has the real trial
    done = gateway.command("update", "--trust-root", str(feed.first_root))
    assert done.returncode == 1, done.stderr
    wait_for(lambda: master.has(Trap.BASES_RELOADED), "the notification of new databases")
    wait_for(lambda: master.has(Trap.UPDATE_STATUS), "the notification of the update")
    wait_for(lambda: master.walk(".3.1").get(".3.1.2.0"), "the result of the update")


@pytest.mark.feature("F-SNMP-01")
def test_the_walk_works_again_after_the_master_agent_restarts(scene: Scene) -> None:
    scene.master.stop()
    wait_for(lambda: "trying again" in scene.gateway.log(), "the loss of the master agent")
    scene.master.start()
    wait_for(lambda: scene.gateway.log().count("snmp: registered") >= 2, "the sub-agent, again")
    wait_for(lambda: scene.master.walk(".4"), "a walk after the restart")


@pytest.mark.feature("F-SNMP-04")
def test_groups_that_are_not_selected_are_absent(scene: Scene) -> None:
    master, gateway, _ = scene
    before = gateway.log().count("snmp: registered")
    gateway.edit('snmp_services = ["all"]', 'snmp_services = ["admin"]')
    gateway.edit('snmp_traps = ["all"]', 'snmp_traps = ["update"]')
    gateway.ask("reload")
    wait_for(lambda: gateway.log().count("snmp: registered") > before, "the sub-agent with other groups")
    wait_for(lambda: master.walk(".4"), "the group that is selected")
    for absent in (".1", ".2", ".3"):
        assert master.walk(absent) == {}
    reloads = master.traps().count(f"{ROOT}.0.{Trap.CONFIG_RELOADED.value}")
    gateway.edit('snmp_traps = ["update"]', 'snmp_traps = ["admin"]')
    gateway.ask("reload")
    wait_for(lambda: gateway.log().count("snmp: registered") > before + 1, "the sub-agent, again")
    assert gateway.stop() == 0
    wait_for(lambda: master.has(Trap.PRODUCT_STOP), "the notification of the stop")
    assert master.traps().count(f"{ROOT}.0.{Trap.CONFIG_RELOADED.value}") == reloads


@pytest.mark.parametrize("base", [BASE, (1, 3, 6, 1, 4, 1, 32473)])
def test_the_mib_is_sound(base: tuple[int, ...], tmp_path: Path) -> None:
    mib = tmp_path / "MAILGW-MIB"
    mib.write_text(build_mib(base))
    env = {**os.environ, "SMIPATH": str(MIBS), "MIBDIRS": str(MIBS), "SNMP_PERSISTENT_DIR": str(tmp_path)}
    checked = subprocess.run(
        [program("smilint"), "-l", "4", str(mib)], env=env, capture_output=True, text=True, check=False, timeout=120
    )
    assert checked.stdout + checked.stderr == ""
    for number, (name, _, _) in enumerate(TRAPS, 1):
        assert Trap(number).name.replace("_", "").lower() in name.lower()
        command = [program("snmptranslate"), "-On", "-m", str(mib), f"MAILGW-MIB::{name}"]
        found = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
        assert found.stdout.strip() == "." + ".".join(map(str, (*base, 0, number)))
