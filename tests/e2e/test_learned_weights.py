"""Learned weights that break under a running gateway, or while it is stopped: told, made anew, and in use again."""

import math
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.test_spam_learning import HAM, SPAM, STRANGERS, learned_weight, mail, rating, spam_status
from tests.support.gateway import Gateway
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.master.learning import WEIGHTS_FILE
from gatepost.model.learned_weights import FILE_SIZE, PAGE, TEXT_BITS
from gatepost.storage.weights_file import find_no_numbers, look_at

TAUGHT = 20


def cut_off(path: Path) -> None:
    os.truncate(path, FILE_SIZE // 2)


def overwritten(path: Path) -> None:
    path.write_bytes(random.Random(3).randbytes(FILE_SIZE))


def of_another_version(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"GPLEARN0")


def removed(path: Path) -> None:
    path.unlink()


class Numbers:
    """A new one for each mail."""

    def __init__(self) -> None:
        self._last = 1000

    def next(self) -> int:
        self._last += 1
        return self._last


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    place = tmp_path_factory.mktemp("weights") / "gw"
    settings = "[watch]\nmail = false\ninterval = 1\n"
    with Gateway(place, sink.port, replace=STRANGERS, settings=settings, antispam=True, spam_fields=True) as one:
        yield one


@pytest.fixture(scope="module")
def untaught(gateway: Gateway, sink: Sink, numbers: Numbers, tmp_path_factory: pytest.TempPathFactory) -> int:
    """What mail of a kind was rated before it was taught as spam."""
    before = rating(gateway, sink, numbers.next())
    folder = tmp_path_factory.mktemp("lessons")
    for label, text in (("spam", SPAM), ("ham", HAM)):
        (folder / label).mkdir()
        for number in range(TAUGHT):
            (folder / label / f"{number}.eml").write_bytes(mail(text, number))
        assert f"{TAUGHT} learned" in gateway.command("spam", "learn", f"--{label}", str(folder / label)).stdout
    assert rating(gateway, sink, numbers.next()) > before
    return before


def weights(gateway: Gateway) -> Path:
    return gateway.state / "learned" / WEIGHTS_FILE


def kill_learner(gateway: Gateway) -> None:
    """Kill it, and wait until it is gone: whoever needs it starts another."""
    for pid in gateway.pids():
        if b"gatepost.master.learner" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda gone=pid: gone not in gateway.pids(), "the learner to be gone")


def problems(gateway: Gateway) -> dict[str, dict[str, str]]:
    """Those of learning, by their keys."""
    found = {each["key"]: each for each in gateway.ask("problems", now=True)["problems"]}
    return {key: each for key, each in found.items() if key.startswith("learning:")}


def in_use(gateway: Gateway) -> list[str]:
    return gateway.lines("filters work with the learned weights that were made anew")


@pytest.mark.parametrize("destroy", [removed, overwritten, of_another_version, cut_off], ids=lambda each: each.__name__)
@pytest.mark.parametrize("learner", ["up", "down"])
def test_broken_weights_are_made_anew_and_used(
    gateway: Gateway, sink: Sink, numbers: Numbers, untaught: int, learner: str, destroy: Callable[[Path], None]
) -> None:
    if learner == "up":
        assert spam_status(gateway)["spam"] == TAUGHT
    else:
        kill_learner(gateway)
    told, used = len(gateway.lines("made anew of what was taught")), len(in_use(gateway))
    destroy(weights(gateway))
    wait_for(lambda: len(gateway.lines("made anew of what was taught")) > told, "the log to tell of it")
    wait_for(lambda: len(in_use(gateway)) > used, "filters to work with the new file")
    assert rating(gateway, sink, numbers.next()) > untaught
    status = spam_status(gateway)
    assert (status["spam"], status["ham"], status["journal"]) == (TAUGHT, TAUGHT, 2 * TAUGHT)
    assert gateway.status()["filter_template"]["restarts"] == 0, "filters were brought to it, none died of it"


def test_what_is_taught_afterwards_counts_at_once(gateway: Gateway, untaught: int, tmp_path: Path) -> None:
    probe = tmp_path / "probe.eml"
    probe.write_bytes(mail("The regatta committee wants your boat numbers before the tide turns on Monday", 1))
    before = learned_weight(gateway, probe)
    assert "1 learned" in gateway.command("spam", "learn", "--spam", str(probe)).stdout
    assert learned_weight(gateway, probe) > before
    assert "1 forgotten" in gateway.command("spam", "forget", str(probe)).stdout


@pytest.mark.parametrize("destroy", [removed, overwritten], ids=lambda each: each.__name__)
def test_weights_that_broke_while_it_was_stopped_are_made_anew(
    gateway: Gateway, sink: Sink, numbers: Numbers, untaught: int, destroy: Callable[[Path], None]
) -> None:
    gateway.stop()
    destroy(weights(gateway))
    told = gateway.command("doctor").stdout
    assert f"the learned weights {weights(gateway)} cannot be used" in told
    used = len(in_use(gateway))
    gateway.start()
    wait_for(lambda: len(in_use(gateway)) > used, "filters to work with the new file")
    assert rating(gateway, sink, numbers.next()) > untaught


def test_values_that_are_no_numbers_are_told_and_made_anew(
    gateway: Gateway, sink: Sink, numbers: Numbers, untaught: int
) -> None:
    gateway.stop()
    with weights(gateway).open("r+b") as stream:
        stream.seek(PAGE)
        stream.write(struct.pack("f", math.nan) * (1 << TEXT_BITS))
    told = gateway.command("doctor").stdout.replace("\n", " ")
    assert f"learned weights {weights(gateway)}: it holds values that are no numbers" in told
    assert "`gatepost spam model reset`" in told
    gateway.start()
    wait_for(lambda: gateway.lines("values that are no numbers; they are made anew"), "the log to tell of it")
    wait_for(lambda: not find_no_numbers(weights(gateway)), "the values to be made anew")
    wait_for(lambda: not problems(gateway), "the problem to be over")
    assert rating(gateway, sink, numbers.next()) > untaught


def test_weights_that_cannot_be_replaced_are_a_problem_until_they_can(
    gateway: Gateway, sink: Sink, numbers: Numbers, untaught: int
) -> None:
    place = weights(gateway)
    place.unlink()
    place.mkdir()

    wait_for(lambda: "learning:weights" in problems(gateway), "the problem")
    shown = problems(gateway)["learning:weights"]
    assert str(place) in shown["text"]
    assert "base model alone" in shown["text"]
    assert "directory" in shown["mend"]
    for surface in ("status", "doctor"):
        assert str(place) in gateway.command(surface).stdout.replace("\n", ""), surface
    assert rating(gateway, sink, numbers.next()) >= 0, "mail goes on"
    used = len(in_use(gateway))
    place.rmdir()
    wait_for(lambda: len(in_use(gateway)) > used, "filters to work with the new file")
    wait_for(lambda: not problems(gateway), "the problem to be over")
    assert rating(gateway, sink, numbers.next()) > untaught


def test_commands_that_read_weights_leave_broken_ones_alone(gateway: Gateway, untaught: int, tmp_path: Path) -> None:
    gateway.stop()
    place = weights(gateway)
    place.write_bytes(b"broken")
    probe = tmp_path / "probe.eml"
    probe.write_bytes(mail(SPAM, 5))
    explained = gateway.run("spam", "explain", str(probe))
    assert explained.returncode == 0, explained.stderr
    assert "rated by the base model alone" in explained.stderr
    assert place.read_bytes() == b"broken"
    gateway.start()
    wait_for(lambda: look_at(place).inode, "the file to be made anew")
