"""`gatepost template check`: findings with file, line and column; exit codes."""

import pytest

from gatepost.cli.template import app


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
