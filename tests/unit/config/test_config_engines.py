"""`[[engine]]`: what is taken, what is refused and with which words, and that it can be written down again."""

from pathlib import Path

import pytest

from gatepost.config.dump import build_effective
from gatepost.config.engines import EngineKind, EngineTable, OnFailure
from gatepost.config.load import Loaded, load

BASE = '[network]\nhostname = "gw.example.org"\nlisten_on = ["127.0.0.1:9"]\n'
CLAMD = '[[engine]]\nname = "clam"\nkind = "clamd"\naddress = "/run/clamd.sock"\n'
ICAP = '[[engine]]\nname = "gate"\nkind = "icap"\naddress = "icap://10.0.0.9/avscan"\nmembers = true\non_failure = "error"\n'
COMMAND = (
    '[[engine]]\nname = "own"\nkind = "command"\ncommand = ["/usr/bin/scan", "-q"]\nreadable = ["/var/lib/scan"]\n'
)


def loaded(tmp_path: Path, text: str) -> Loaded:
    file = tmp_path / "gatepost.toml"
    file.write_text(BASE + text)
    return load(file)


def test_engines_are_read_in_their_order(tmp_path: Path) -> None:
    config = loaded(tmp_path, CLAMD + ICAP + COMMAND + 'timeout = "3s"\nmax_size = "7 MiB"\n').config
    assert config is not None
    assert [engine.name for engine in config.engines] == ["clam", "gate", "own"]
    clam, gate, own = config.engines
    assert clam == EngineTable(name="clam", kind=EngineKind.CLAMD, address="/run/clamd.sock")
    assert (gate.members, gate.on_failure) == (True, OnFailure.ERROR)
    assert (own.command, own.readable, own.timeout, own.max_size) == (
        ("/usr/bin/scan", "-q"), ("/var/lib/scan",), 3.0, 7 * 1024**2,
    )  # fmt: skip


def test_what_is_shown_reads_back(tmp_path: Path) -> None:
    first = loaded(tmp_path, CLAMD + ICAP + COMMAND)
    assert first.config is not None
    again = tmp_path / "again.toml"
    again.write_text(build_effective(first, first.config, origins=True))
    assert load(again).config == first.config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CLAMD + CLAMD, "given twice"),
        (CLAMD.replace("clam", "builtin", 1), "always there"),
        (CLAMD.replace('"clam"', '"Cl am"'), "not a name"),
        (CLAMD.replace("/run/clamd.sock", ""), "nobody to ask"),
        (CLAMD.replace("/run/clamd.sock", "clamd"), "not host:port"),
        (CLAMD.replace("/run/clamd.sock", "localhost:70000"), "not host:port"),
        (CLAMD.replace("/run/clamd.sock", "/" + "x" * 120), "too long"),
        (CLAMD + 'command = ["/bin/true"]\n', "kind command"),
        (ICAP.replace("icap://", "http://"), "not icap://"),
        (ICAP.replace("10.0.0.9", "10.0.0.9:0"), "not icap://"),
        (COMMAND.replace("/usr/bin/scan", "scan"), "no program"),
        (COMMAND.replace("/var/lib/scan", "lib"), "not an absolute path"),
        (COMMAND + 'address = "/run/x"\n', "a command has none"),
        (CLAMD.replace('"clamd"', '"fprot"'), "clamd, icap, command"),
        ('[[engine]]\nname = "x"\n', "kind"),
        ("".join(CLAMD.replace('"clam"', f'"c{n}"') for n in range(17)), "may have 16"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, words: str) -> None:
    got = loaded(tmp_path, text)
    assert got.config is None
    assert any(words in str(problem) for problem in got.problems), got.problems
