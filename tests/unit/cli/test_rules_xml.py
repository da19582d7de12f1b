"""`gatepost rules import | export`: sets in XML go in and out; what is wrong is said and nothing changed."""

from pathlib import Path

import pytest

from gatepost.cli.rules_xml import KEPT_SUFFIX, export_set, import_set
from gatepost.config.profiles_files import SHIPPED, read_rule_set
from gatepost.model.profile import RuleSet


def read(directory: Path) -> RuleSet:
    rules, problems = read_rule_set(directory)
    assert not problems
    return rules


@pytest.mark.feature("F-ASP-13")
@pytest.mark.parametrize("encoding", ["utf-8", "koi8-r"])
def test_what_is_exported_is_imported_equal(tmp_path: Path, encoding: str, capsys: pytest.CaptureFixture[str]) -> None:
    xml, own = tmp_path / "xml", tmp_path / "rules"
    assert export_set(xml, directory=tmp_path / "none", encoding=encoding) == 0
    assert encoding.encode() in (xml / "profiles" / "detect-standard.xml").read_bytes()
    assert (xml / "hidden" / "formal.xml").read_bytes().splitlines()[1] == b"<!-- ALLOW_UPDATES=yes -->"
    assert import_set(xml, directory=own) == 0
    assert read(own) == read(SHIPPED)
    assert not capsys.readouterr().err
    # A name in the file's own letters comes through.
    text = (xml / "profiles" / "rcpt-root.xml").read_text().replace("No filtering for root", "Без проверки")
    (xml / "profiles" / "rcpt-root.xml").write_bytes(text.encode(encoding))
    index = (xml / "profiles.xml").read_text().replace("No filtering for root", "Без проверки")
    (xml / "profiles.xml").write_bytes(index.encode(encoding))
    assert import_set(xml, directory=own) == 1
    assert "--force" in capsys.readouterr().err
    assert import_set(xml, directory=own, force=True) == 0
    assert read(own).profiles["rcpt-root"].name == "Без проверки"
    assert read(own.with_name(own.name + KEPT_SUFFIX)) == read(SHIPPED)


def test_a_set_with_faults_changes_nothing_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml, own = tmp_path / "xml", tmp_path / "rules"
    export_set(xml, directory=tmp_path / "none")
    profile = xml / "profiles" / "do-archive.xml"
    good = profile.read_text()
    for bad, told in (
        (good.replace("DoAccept", "DoExplode"), "do-archive.xml:10: error: <DoExplode> is no action"),
        (good.replace("spam-archive@localhost", "spam"), "'spam' is no address"),
    ):
        profile.write_text(bad)
        assert import_set(xml, directory=own) == 66
        assert told in capsys.readouterr().err
        assert not own.exists()
    profile.write_text(good)
    assert import_set(xml, directory=own, check_only=True) == 0
    assert not own.exists()
    assert import_set(tmp_path / "nowhere", directory=own) == 1
    assert export_set(xml, directory=own) == 1
    assert export_set(tmp_path / "x", directory=own, encoding="ebcdic") == 1
