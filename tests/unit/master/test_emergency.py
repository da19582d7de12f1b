"""The emergency bypass: how long it lasts, whatever happens to clocks and processes; who is told; what it is for."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control.bypass_order import BYPASS_FILE, Order, read_order
from gatepost.control.desk import Desk
from gatepost.control.rights import RIGHTS_OF, Caller, Right, Role, local_caller
from gatepost.control.socket import ControlError, Request
from gatepost.master.emergency import TICK_S, Emergency
from gatepost.relay.bypass import Bypass

TOML = """
[relay]
state_path = "{state}"
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
[policy]
admin_notify_address = ["admin@example.org"]
[[group]]
name = "sales"
recipients = ["sales@example.org"]
"""


class Clocks:
    """Two clocks that tests turn."""

    def __init__(self) -> None:
        self.running = 100.0
        self.wall_time = 1_800_000_000.0

    def turn(self, seconds: float, *, wall: float | None = None) -> None:
        self.running += seconds
        self.wall_time += seconds if wall is None else wall


class Scene:
    """One master's bypass with relays that note what they are asked."""

    def __init__(self, state: Path, clocks: Clocks | None = None) -> None:
        self.state = state
        self.clocks = clocks or Clocks()
        self.asked: list[Any] = []
        self.mails: list[dict[str, Any]] = []
        self.said: list[tuple[str, str]] = []
        self.deaf = False
        file = state / "gatepost.toml"
        file.write_text(TOML.format(state=state))
        loaded = load(file)
        assert loaded.config is not None, loaded.problems
        self.config: Config = loaded.config
        self.emergency = self.begin()

    def begin(self) -> Emergency:
        """Return the bypass of a master that starts."""
        self.emergency = Emergency(
            state_path=str(self.state),
            config=lambda: self.config,
            ask_all=self._ask,
            announce=self._announce,
            say=lambda letter, text: self.said.append((letter, text)),
            monotonic=lambda: self.clocks.running,
            wall=lambda: self.clocks.wall_time,
        )
        self.desk = Desk()
        self.emergency.register(self.desk)
        return self.emergency

    async def _ask(self, question: str, **arguments: Any) -> list[Any]:
        if self.deaf:
            raise ControlError("relay 0 does not answer")
        assert question == "bypass"
        self.asked.append(arguments["order"])
        return []

    async def _announce(self, **mail: Any) -> str:
        if self.deaf:
            raise ControlError("no relay takes mail of ours now")
        self.mails.append(mail)
        return "id"

    def call(self, name: str, caller: Caller | None = None, **arguments: Any) -> Any:
        """Make a call."""
        request = Request(f"bypass.{name}", arguments)
        return asyncio.run(self.desk.handle(request, caller or local_caller("root")))

    def look(self) -> None:
        """Have it look once."""
        asyncio.run(self.emergency.look())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_it_is_taken_by_the_relays_told_and_shown(scene: Scene) -> None:
    told = scene.call("on", minutes=30, reason="engines crash on all mail", groups=["sales"], directions=["inbound"])
    assert told["on"]
    assert told["left_s"] == 1800
    assert scene.asked[-1]["groups"] == ("sales",)
    assert scene.asked[-1]["directions"] == ("inbound",)
    assert scene.mails[0]["to"] == ("admin@example.org",)
    assert "30 minutes" in scene.mails[0]["subject"]
    assert "engines crash on all mail" in scene.mails[0]["text"]
    [finding] = scene.emergency.findings()
    assert finding.state == "error"
    assert "engines crash on all mail" in finding.text
    assert (
        scene.said[-1][0],
        scene.said[-1][1].partition(": mail passes")[0],
    ) == ("W", "emergency bypass by root: engines crash on all mail")


def test_it_ends_when_it_is_told_to(scene: Scene) -> None:
    scene.call("on", minutes=30, reason="x")
    assert scene.call("off") == {"on": False}
    assert scene.asked[-1] is None
    assert "scanned again" in scene.mails[-1]["subject"]
    assert list(scene.emergency.findings()) == []
    assert not (scene.state / BYPASS_FILE).exists()
    assert len(scene.mails) == 2
    scene.call("off")
    assert len(scene.mails) == 2


@pytest.mark.parametrize("wall", [None, -86_400.0, 0.0])
def test_it_ends_by_itself_whatever_the_wall_clock_does(scene: Scene, wall: float | None) -> None:
    scene.call("on", minutes=10, reason="x")
    scene.clocks.turn(599)
    scene.look()
    assert scene.call("status")["on"]
    scene.clocks.turn(1, wall=wall)
    scene.look()
    assert not scene.call("status")["on"]
    assert scene.asked[-1] is None
    assert "its time is over" in scene.mails[-1]["text"]


def test_a_wall_clock_set_forward_ends_it(scene: Scene) -> None:
    scene.call("on", minutes=10, reason="x")
    scene.clocks.turn(1, wall=601)
    scene.look()
    assert not scene.call("status")["on"]


def test_it_goes_on_over_a_restart_and_never_longer(scene: Scene) -> None:
    scene.call("on", minutes=10, reason="x")
    for _ in range(20):  # a master that dies after half a minute, time and again; its clock is set back each time
        scene.clocks.turn(30, wall=-3600)
        scene.look()
        scene.begin()
    left_s = scene.call("status")["left_s"] if scene.call("status")["on"] else 0.0
    assert left_s == 0.0


def test_what_is_written_down_is_never_more_than_is_left(scene: Scene) -> None:
    scene.call("on", minutes=1, reason="x")
    while (order := read_order(str(scene.state))) is not None:
        scene.clocks.turn(TICK_S - 0.01)  # just before it is written anew: what a relay would read
        assert order.left_s <= scene.emergency.left_s() + 0.001
        scene.clocks.turn(0.01)
        scene.look()
    assert not scene.call("status")["on"]


def test_a_restart_after_its_time_does_not_begin_it_again(scene: Scene) -> None:
    scene.call("on", minutes=10, reason="x")
    scene.clocks.turn(0, wall=3600)
    scene.begin()
    scene.look()
    assert not scene.call("status")["on"]
    assert not (scene.state / BYPASS_FILE).exists()


def test_relays_and_mails_that_could_not_be_reached_are_tried_again(scene: Scene) -> None:
    scene.deaf = True
    told = scene.call("on", minutes=10, reason="x")
    assert told["on"]
    assert not told["every_relay"]
    scene.deaf = False
    scene.look()
    assert scene.asked[-1]["reason"] == "x"
    assert len(scene.mails) == 1
    assert scene.call("status")["every_relay"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"minutes": 0, "reason": "x"}, "1 to 240 minutes"),
        ({"minutes": 241, "reason": "x"}, "1 to 240 minutes"),
        ({"minutes": float("nan"), "reason": "x"}, "1 to 240 minutes"),
        ({"minutes": 5, "reason": " \n"}, "say why"),
        ({"minutes": 5, "reason": "x", "groups": ["sale"]}, "there is no group 'sale'"),
        ({"minutes": 5, "reason": "x", "directions": ["up"]}, "a direction is one of"),
    ],
)
def test_orders_that_say_too_little_or_too_much_are_refused(scene: Scene, arguments: Any, says: str) -> None:
    with pytest.raises(ControlError, match=says):
        scene.call("on", **arguments)
    assert scene.asked == []
    assert not (scene.state / BYPASS_FILE).exists()


@pytest.mark.parametrize("role", [role for role in Role if Right.EMERGENCY not in RIGHTS_OF[role]])
def test_only_who_has_the_right_may(scene: Scene, role: Role) -> None:
    with pytest.raises(ControlError, match="emergency"):
        scene.call("on", Caller("someone", RIGHTS_OF[role]), minutes=5, reason="x")


def test_a_reason_is_one_line(scene: Scene) -> None:
    scene.call("on", minutes=5, reason="one\r\nX-Evil: two\x1b[0m")
    assert scene.call("status")["reason"] == "one X-Evil: two [0m"


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b'{"since": "x"}'])
def test_a_damaged_file_means_that_mail_is_scanned(scene: Scene, raw: bytes) -> None:
    (scene.state / BYPASS_FILE).write_bytes(raw)
    scene.begin()
    assert scene.call("status") == {"on": False}


def test_a_relay_ends_it_by_itself() -> None:
    clocks = Clocks()
    order = Order(clocks.wall_time, clocks.wall_time + 60, 60, "x", "root")

    def begin() -> Bypass:
        return Bypass(order, lambda: clocks.running, lambda: clocks.wall_time)

    bypass = begin()
    turns: list[Callable[[], None]] = [lambda: clocks.turn(60, wall=-10), lambda: clocks.turn(0, wall=71)]
    for turn in turns:
        assert begin().is_on()
        turn()
        assert not bypass.is_on()
        assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order
