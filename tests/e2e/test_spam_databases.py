"""Databases of anti-spam in a running gateway: the shipped ones, the administrator's own, faulty ones, none at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

TEXT = (
    "Our company sells garden houses of spruce wood in five sizes, with a floor and a door that can be locked.\r\nWe "
    "bring them to your garden and two of our carpenters put them up within a day.\r\nThe price includes the roof, the "
    "windows and a coat of paint in a colour of your choice. Write to us for the list of prices.\r\n"
)
EDITED = TEXT.replace("five sizes", "three sizes").replace("two of our carpenters", "our men") + "See you.\r\n"
NO_BASES = "the content of mail is not looked at for spam"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


def verdict(gateway: Gateway, text: str) -> str:
    """Send a mail and return the line of its spam status."""
    queue_id = gateway.send(plain(text=text))
    return wait_for(lambda: gateway.lines("SPAMCHECK", queue_id), "its spam status in the log")[0]


@pytest.mark.feature("F-AS-16")
def test_own_samples_are_effective_after_compile_and_what_is_faulty_changes_nothing(tmp_path: Path, sink: Sink) -> None:
    with Gateway(tmp_path / "gw", sink.port, antispam=True) as gateway:
        (row,) = gateway.status()["spam_databases"]
        assert row["name"] == "spam-base"
        assert row["records"] > 1000
        (tmp_path / "houses.eml").write_bytes(plain(text=TEXT))
        added = gateway.command("spam", "sample", "add", str(tmp_path / "houses.eml"))
        assert added.returncode == 0, added.stderr
        assert "sample" not in verdict(gateway, EDITED)

        compiled = gateway.command("spam", "sample", "compile")
        assert compiled.returncode == 0, compiled.stderr
        assert "1 file(s) of your own" in compiled.stdout
        wait_for(lambda: 'status="spam"' in verdict(gateway, EDITED), "the filters to follow")

        # A set that was touched: what is in force stays, the administrator is told.
        (touched,) = (gateway.state / "as-bases").iterdir()
        rules = touched / "terms" / "en.terms"
        rules.write_bytes(rules.read_bytes() + b"1 more\n")
        refused = gateway.command("reloadbases")
        assert refused.returncode != 0
        assert "en.terms" in refused.stderr
        assert 'status="spam"' in verdict(gateway, EDITED)
        wait_for(lambda: any("en.terms" in text for text in problems(gateway).values()), "the problem to be seen")
        assert "databases:spam" not in problems(gateway)

        # None at all: mail goes on, and the log says what is not done.
        rules.unlink()
        touched.rename(gateway.state / "as-bases" / ".away")
        assert NO_BASES not in gateway.log()
        assert gateway.command("reloadbases").returncode == 0
        assert NO_BASES in gateway.log()
        wait_for(lambda: 'status="spam"' not in verdict(gateway, EDITED), "the filters to follow")
        wait_for(lambda: not any("en.terms" in text for text in problems(gateway).values()), "the problem to be over")


def problems(gateway: Gateway) -> dict[str, str]:
    """Return the standing problems after a fresh look, by key."""
    return {row["key"]: row["text"] for row in gateway.ask("problems", now=True)["problems"]}


def doctor(gateway: Gateway) -> dict[str, str]:
    """Return what `gatepost doctor` finds: the state of each thing, by key."""
    return {row["key"]: row["state"] for row in json.loads(gateway.command("doctor", "--json").stdout)["findings"]}


def test_a_faulty_set_does_not_keep_a_gateway_from_starting(tmp_path: Path, sink: Sink) -> None:
    (tmp_path / "gw" / "as-bases" / "broken-1").mkdir(parents=True)
    with Gateway(tmp_path / "gw", sink.port, antispam=True) as gateway:
        assert gateway.status()["spam_databases"] == []
        assert "broken-1" in gateway.log()
        assert NO_BASES in gateway.log()
        # Who does not read the log is told as well, by the running gateway and by one that stands.
        seen = wait_for(lambda: problems(gateway).get("databases:spam"), "the problem to be seen")
        assert NO_BASES in seen
        assert "broken-1" in seen
        assert doctor(gateway)["databases:spam"] == "error"
        assert "not_detected" in verdict(gateway, EDITED)
    assert doctor(gateway)["databases:spam"] == "error"
