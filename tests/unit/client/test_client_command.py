"""`gatepost client`: trying the servers, and starting the programs with what they are told."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling

from gatepost.cli.main import app
from gatepost.config.doors import Door
from gatepost.model.filtering import Deed, Part, Purpose, Threat
from gatepost.model.reply import Reply
from gatepost.service import filter_door
from gatepost.service.judge import Unjudged

REFUSED = ruling(
    Part(
        recipients=("b@y.example",),
        deed=Deed.REJECT,
        reply=Reply(550, "5.7.1", ("No",)),
        status="spam",
        rate=100,
        objects=("infected",),
        threats=(Threat("Worm", "infected"),),
    )
)


def call(*words: str) -> int:
    try:
        return int(app(["client", *words], exit_on_error=False, result_action="return_value") or 0)
    except SystemExit as left:
        return int(left.code or 0)


def settings(directory: Path, *addresses: str) -> str:
    file = directory / "client.toml"
    file.write_text(f"client_connect_to = {json.dumps(addresses)}\n")
    return str(file)


def test_servers_are_greeted_and_asked_without_consequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"Subject: x\n\nbody\n")
    with ListeningDoor(filter_door.make, ScriptedJudge(REFUSED), Door(name="d")) as door:
        file = settings(tmp_path, f"tcp:127.0.0.1:{door.port}")
        assert call("test", str(mail), "--recipient", "b@y.example", "--client-ip", "192.0.2.1", "-c", file) == 0
        told = capsys.readouterr().out
        assert told == (
            f"tcp:127.0.0.1:{door.port}: answers\nqueue id 0AB1CD2EF3GH4\n"
            "b@y.example: reject: 550 No: spam status spam, rate 100: objects infected: infected: Worm\n"
        )
        asked = door.judge.last
        assert asked.content == b"Subject: x\r\n\r\nbody\r\n"
        assert asked.request.purpose is Purpose.ASK
        assert asked.request.client.ip == "192.0.2.1"
        door.judge.answer = Unjudged("no filter is free")
        assert call("test", "-c", file) == 4
        assert "not judged" in capsys.readouterr().out
        assert call("test", "-c", file, "--json") == 4
        assert "no filter is free" in json.loads(capsys.readouterr().out)["unjudged"]


def test_what_is_wrong_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = settings(tmp_path, f"tcp:127.0.0.1:{free_port()}")
    assert call("test", "-c", file) == 4
    assert "no connection: Connection refused" in capsys.readouterr().out
    assert call("test", str(tmp_path / "none"), "-c", file) == 2
    assert call("test", "-c", str(tmp_path / "none")) == 2


@pytest.mark.parametrize("name", ["milter", "pipe", "qmail", "cgpro"])
def test_programs_get_what_stands_behind_their_options(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, Path, Sequence[str], bool]] = []

    def run(program: str, file: Path, arguments: Sequence[str], *, to_stderr: bool) -> int:
        started.append((program, file, arguments, to_stderr))
        return 75

    monkeypatch.setattr("gatepost.cli.client.run_program", run)
    file = tmp_path / "c"
    assert call(name, "-c", str(file), "--stderr", "--", "--message", "-f", "", "--", "b@y.example") == 75
    assert call(name, "-c", str(file), "--message", "-f", "a@x.example") == 75
    assert started == [
        (name, file, ("--message", "-f", "", "--", "b@y.example"), True),
        (name, file, ("--message", "-f", "a@x.example"), False),
    ]
