"""Manual pages and completion are made of the commands and the schema: nothing of them is missing, and groff takes them."""

import enum
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cyclopts
import pytest

from gatepost.config.schema import FIELDS, SECTIONS

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        import man_pages

    return man_pages


@pytest.fixture(scope="module")
def pages(tool: ModuleType) -> dict[str, str]:
    return dict(tool.build_pages())


def plain(page: str) -> str:
    """Return what a reader sees of a page, roughly."""
    page = re.sub(r"\\f[BIR]|\\&", "", page).replace("\\-", "-").replace("\\e", "\\")
    return " ".join(page.split())


def test_every_command_has_its_page_with_every_option(tool: ModuleType, pages: dict[str, str]) -> None:
    from gatepost.cli.main import app

    names = [name for name in app if not name.startswith("-")]
    assert {f"man1/gatepost-{name}.1" for name in names} < set(pages)
    overview = plain(pages["man1/gatepost.1"])
    for name in names:
        assert f".TP {name} " in overview
        page = plain(pages[f"man1/gatepost-{name}.1"])
        pending = [(app[name], ("gatepost", name))]
        while pending:
            one, path = pending.pop()
            pending += [(one[below], (*path, below)) for below in one if not below.startswith("-")]
            if one.default_command is None:
                continue
            assert " ".join(path) in page
            for argument in one.assemble_argument_collection():
                if argument.show and argument.names and argument.index is None:
                    assert all(f" {option}" in page for option in argument.names), (path, argument.names)


def test_an_option_is_told_with_value_default_and_words(tool: ModuleType) -> None:
    class Way(enum.StrEnum):
        QUICK = "quick"
        SLOW = "slow"

    app = cyclopts.App(name="x")

    @app.default
    def act(place: str, *, limit: int = 7, quiet: bool = False, way: Way = Way.SLOW) -> None:
        """Do it.

        More about it.

        Parameters
        ----------
        place
            Where.
        limit
            At most; -1 is a\\b.
        quiet
            say nothing
        way
            how
        """

    page = plain(tool.build_page(tool.read_command(app, ("gatepost", "x"))))
    assert "gatepost-x - Do it .SH SYNOPSIS" in page
    assert "PLACE [--limit LIMIT] [--quiet]" in page
    assert "--limit LIMIT At most; -1 is a\\b. Default: 7." in page
    assert "More about it." in page
    assert "--quiet, --no-quiet Say nothing." in page
    assert "--way WAY How. One of quick, slow. Default: slow." in page


def test_every_parameter_stands_in_the_page_of_the_configuration(pages: dict[str, str]) -> None:
    page = pages["man5/gatepost.toml.5"]
    policy = {field.name for field in FIELDS["policy"]}
    for section in SECTIONS:
        heading = f"[[{section.name}]]" if section.array else f"[{section.name}]"
        part = page.partition(f'.SH "{heading}"')[2].partition("\n.SH ")[0]
        assert part, heading
        for field in FIELDS[section.name]:
            if section.name != "group" or field.name not in policy:
                assert f"\\fB{field.name}\\fR\n" in part, field.name


def test_older_names_have_pages_too(pages: dict[str, str]) -> None:
    for name, option in (("mailgw", "--no-daemon"), ("gw-update", "-rollback"), ("gw-license", "-da")):
        assert option in plain(pages[f"man1/{name}.1"])


def test_groff_has_nothing_against_them(tool: ModuleType, pages: dict[str, str], tmp_path: Path) -> None:
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    for place, text in {**pages, "man1/wrong.1": ".TH\n.SH NAME\n.nosuchrequest\n"}.items():
        (tmp_path / "man" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "man" / place).write_text(text)
    faults = tool.find_faults(tmp_path)
    assert faults, "it looks at them"
    assert all("wrong.1" in line for line in faults.splitlines()), faults


def test_bash_completes_a_command_and_its_options(tool: ModuleType, tmp_path: Path) -> None:
    from gatepost.cli.licence import app

    script = tmp_path / "completion"
    script.write_text(tool.build_completion("bash", app, "licence"))
    asked = f'. {script}; COMP_WORDS=(licence {{}}); COMP_CWORD={{}}; _licence; printf "%s\\n" "${{{{COMPREPLY[@]}}}}"'

    def complete(*words: str) -> set[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        done = subprocess.run(
            ["bash", "-c", asked.format(quoted, len(words))], capture_output=True, text=True, check=True, timeout=60
        )
        return set(done.stdout.split())

    assert complete("") >= {"show", "add", "remove", "issue", "verify"}
    assert complete("v") == {"verify"}
    assert complete("show", "--j") == {"--json"}
    assert "Generated" not in script.read_text()
    assert sys.executable not in script.read_text()
