"""What SNMP asks of the gateway: relays only for what is walked, and for the outbreak alert; the clock is stepped."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.control.desk import Desk
from gatepost.control.rights import Right
from gatepost.master.bases import Databases
from gatepost.master.snmp_facts import COUNT_S, FRESH_S, SnmpFacts

BASE: tuple[int, ...] = (1, 3, 6, 1, 4, 1, 32473)
STATUS = {
    "started_at": 1_700_000_000.0, "counters": {"antiviral_checked_messages_infected": 4}, "modules": {}, "latency": {},
    "relays": [], "filter_template": {},
    "since_start": {"antiviral_checked_messages_total": 9, "antiviral_checked_messages_infected": 4}, "pid": 0,
}  # fmt: skip


class Scene:
    """A desk whose answers are counted, and what asks it."""

    def __init__(self, place: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.now = 0.0
        desk = Desk()
        for call, answer in (
            ("status", STATUS),
            ("problems", {"problems": [{"key": "disk", "text": "the disk is full", "state": "error"}]}),
            ("tracking.search", {"mails": []}),
        ):
            desk.add(call, Right.VIEW, self._counted(call, answer))
        self.facts = SnmpFacts(desk, Databases, place, lambda: self.now)

    def _counted(self, call: str, answer: Any) -> Any:
        async def answering(*_: object) -> Any:
            self.asked[call] += 1
            return answer

        return answering

    def walk(self, config: Config) -> dict[tuple[int, ...], Any]:
        """Return what is shown, by its name below the base."""
        tree, name, found = asyncio.run(self.facts.tree(BASE, config)), BASE, {}
        while (following := tree.after(name, (), inclusive=False)) is not None:
            name, found[following[0][len(BASE) :]] = following
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def settings(services: str = "", traps: str = "", threshold: int = 0) -> Config:
    text = f'[network]\nhostname = "gw.example.org"\n[snmp]\nsnmp_services = [{services}]\nsnmp_traps = [{traps}]\n'
    config = load_text(f"{text}alert_threshold = {threshold}\n", "x.toml").config
    assert config is not None
    return config


def test_a_walk_asks_relays_once_in_a_while_and_only_for_statistics(scene: Scene) -> None:
    config = settings('"statistics"')
    assert scene.walk(config)
    scene.now = FRESH_S
    scene.walk(config)
    assert scene.asked["status"] == 1, "a walk asks for each variable singly"
    scene.now += 0.1
    scene.walk(config)
    assert scene.asked["status"] == 2
    for _ in range(3):
        scene.now += FRESH_S + 1
        scene.walk(settings('"config", "update"'))
    assert scene.asked["status"] == 2
    scene.walk(settings('"admin"'))
    scene.walk(settings('"admin"'))
    assert scene.asked["status"] == 2, "when it started is known"


def test_what_is_shown_follows_a_reload_at_once(scene: Scene) -> None:
    before, after = scene.walk(settings('"config"', threshold=7)), scene.walk(settings('"config"', threshold=8))
    threshold = (1, 1, 1, 4, 4, *b"snmp", 0, len("alert_threshold"), *b"alert_threshold")
    assert [name for name in before if before[name] != after[name]] == [threshold]


def test_looking_for_notifications_asks_relays_only_where_outbreaks_are_alerted(scene: Scene) -> None:
    for config in (settings(traps='"all"'), settings(traps='"update"', threshold=5), settings('"all"')):
        view = asyncio.run(scene.facts.view(config))
        assert view.errors == [("disk", "the disk is full")]
        assert (view.scanned, view.infected) == (0, 0)
    assert scene.asked["status"] == 0
    wanted = settings(traps='"admin"', threshold=5)
    for _ in range(5):
        view = asyncio.run(scene.facts.view(wanted))
        assert (view.scanned, view.infected) == (9, 4)
        scene.now += COUNT_S / 5
    assert scene.asked["status"] == 1
    scene.now += 1
    asyncio.run(scene.facts.view(wanted))
    assert scene.asked["status"] == 2


def test_changes_of_configuration_are_counted(scene: Scene) -> None:
    first, second = settings(traps='"all"'), settings(traps='"all"', threshold=3)
    seen = [asyncio.run(scene.facts.view(config)).config for config in (first, first, second, second)]
    assert seen == [seen[0], seen[0], seen[0] + 1, seen[0] + 1]
