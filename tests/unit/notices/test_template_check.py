"""`gatepost template check`: findings with file, line and column; exit codes."""

import json

import pytest

from gatepost.cli.template import app
from gatepost.config.grouping import LANGUAGES
from gatepost.notices.facts import KNOWN_MACROS
from gatepost.notices.sample import sample_values
from gatepost.notices.template import SHIPPED, Item


def run(*files):
    with pytest.raises(SystemExit) as ended:
        app(["check", *map(str, files)])
    return ended.value.code


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file


@pytest.mark.feature("F-NOTI-10")
def test_a_bad_tag_is_reported_with_its_line_and_a_code(write, capsys):
    bad = write("bad.tmpl", 'fine\n  <FOR OBJECT == "*>\nx %SENDER\n')
    assert run(bad) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(": error: ")[0] for line in lines] == [f"{bad}:2:3", f"{bad}:3:3"]


def test_findings_for_machines(write, capsys):
    bad, odd = write("bad.tmpl", 'x\n  <FOR OBJECT == "*>\n'), write("odd.tmpl", "%ODD_MACRO%\n")
    assert run("--json", bad, odd, write("good.tmpl", "%SENDER%\n")) == 3
    first, second = json.loads(capsys.readouterr().out)
    assert (first["file"], first["line"], first["column"], first["level"]) == (str(bad), 2, 3, "error")
    assert (second["file"], second["line"], second["level"]) == (str(odd), 1, "warning")
    assert first["text"]
    assert run(bad, "--json") == 3
    assert json.loads(capsys.readouterr().out) == [first]
    assert run("--json", write("good.tmpl", "%SENDER%\n")) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_correct_files_give_code_0_and_no_word(write, capsys):
    assert run(write("good.tmpl", "%SENDER%\n"), write("good2.tmpl", "# only a comment\n")) == 0
    assert capsys.readouterr().out == ""


def test_an_unknown_macro_is_a_warning_only(write, capsys):
    path = write("odd.tmpl", "\\q %SENDRE%\n")
    assert run(path) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{path}:1:1: warning: ")
    assert second == f"{path}:1:4: warning: unknown macro SENDRE: it stands for nothing"


def test_codes_of_unreadable_files_and_wrong_options(write, tmp_path, capsys):
    good, bad = write("good.tmpl", "x"), write("bad.tmpl", "%")
    assert run(tmp_path / "none.tmpl", good) == 2
    assert "none.tmpl:1:1: error: cannot be read: No such file or directory" in capsys.readouterr().out
    assert run(bad, tmp_path / "none.tmpl") == 3
    assert run(tmp_path) == 2
    capsys.readouterr()
    assert run() == 1
    assert run("--fix", good) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage" in captured.err


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        app(list(map(str, arguments)))
    return ended.value.code


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_shipped_template_can_be_shown_and_previewed(language, tmp_path, capsys):
    for shipped in SHIPPED.glob("*.tmpl"):
        assert call("show", shipped.stem, "--language", language) == 0
        own = tmp_path / "own.tmpl"
        own.write_text(capsys.readouterr().out)
        assert run(own) == 0
        assert capsys.readouterr().out == ""
        assert call("preview", own) == 0
        shown = capsys.readouterr().out
        assert "gw.example.org" in shown
        assert "%" not in shown


def test_a_preview_shows_the_subject_and_what_is_different_for_blocked_mail(tmp_path, capsys):
    own = tmp_path / "own.tmpl"
    own.write_text('<DEF NOTICE_SUBJECT = "It was %MSG_ACTION%"/>\n<FOR OBJECT == "*">\n%OBJECT_NAME%\n</FOR>\n')
    assert call("preview", own, "--blocked") == 0
    assert capsys.readouterr().out == "Subject: It was blocked\n\nprices.exe\nlocked.zip\n"
    assert call("preview", own) == 0
    assert capsys.readouterr().out.startswith("Subject: It was delivered\n")


def test_the_sample_of_a_preview_has_every_macro():
    assert set(KNOWN_MACROS) - {"SRC_ID"} <= names_in(sample_values(blocked=True)) | {"HELO"}


def names_in(values):
    found = set(values)
    for several in values.values():
        for value in () if isinstance(several, str) else several:
            if isinstance(value, Item):
                found |= names_in(value.macros)
    return found


def test_what_cannot_be_shown_or_previewed(tmp_path, capsys):
    assert call("show", "nothing") == 1
    assert "there are: digest, digest-html, disclaimer, dsn, notify-admin" in capsys.readouterr().err
    assert call("show", "dsn", "--language", "xx") == 1
    own = tmp_path / "own.tmpl"
    own.write_text("%")
    assert call("preview", own) == 3
    assert call("preview", tmp_path / "none.tmpl") == 2
