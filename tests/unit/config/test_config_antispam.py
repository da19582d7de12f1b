"""Anti-spam in the configuration: presets, older words, actions that exclude each other, lists out of files."""

from pathlib import Path

import pytest

from gatepost.config.load import load_text
from gatepost.config.schema import Config

BASE = '[network]\nhostname = "gw.example.org"\n'


def config_of(text: str) -> Config:
    loaded = load_text(BASE + text, "x.toml")
    assert loaded.config is not None, loaded.errors
    return loaded.config


def told(text: str) -> list[str]:
    return [str(problem) for problem in load_text(BASE + text, "x.toml").errors]


def test_a_preset_changes_defaults_and_only_them() -> None:
    plain = config_of("")
    protection = config_of('[antispam]\npreset = "protection"\n')
    assert (plain.ave.cure, plain.policy.spam_level) == (False, "standard")
    assert (protection.ave.cure, protection.policy.spam_level) == (True, "high")
    assert set(protection.policy.save_in_quarantine) > {"spam", "infected"}
    assert protection.groups[-1].spam_level == "high"
    own = config_of('[antispam]\npreset = "protection"\n[ave]\ncure = false\n[policy]\nspam_level = "minimum"\n')
    assert (own.ave.cure, own.policy.spam_level) == (False, "minimum")
    speed = config_of('[antispam]\npreset = "speed"\n')
    assert (speed.policy.use_surbl, speed.policy.use_uds, speed.ave.use_clean_cache) == (False, False, True)


def test_groups_inherit_what_a_preset_says() -> None:
    config = config_of('[antispam]\npreset = "protection"\n[[group]]\nname = "a"\nsenders = ["x@y"]\n')
    assert [group.spam_level for group in config.groups] == ["high", "high"]


@pytest.mark.parametrize("word", ["soft", "standard", "hard"])
def test_the_intensity_is_the_level_of_groups_that_name_none(word: str) -> None:
    assert config_of(f'[antispam]\nspam_detection = "{word}"\n').policy.spam_level == word
    named = config_of(f'[antispam]\nspam_detection = "{word}"\n[policy]\nspam_level = "maximum"\n')
    assert named.policy.spam_level == "maximum"


def test_actions_that_exclude_each_other_are_an_error_once() -> None:
    wrong = '[policy]\naction_spam = ["block", "reject"]\n[[group]]\nname = "a"\nsenders = ["x@y"]\n'
    (error,) = told(wrong)
    assert "action_spam" in error
    assert "block and reject exclude each other" in error
    (error,) = told('[[group]]\nname = "a"\nsenders = ["x@y"]\naction_formal = ["pass", "mark"]\n')
    assert "action_formal" in error
    assert not told('[policy]\naction_spam = ["quarantine", "block"]\n')


def test_own_names_are_a_name_and_an_address_each() -> None:
    config = config_of("[antispam]\nown_names = ['\"Doe,  Jane\" <jane@example.org>', 'Jörg Maß<j@example.org>']\n")
    assert config.antispam.own_names == ("Doe, Jane <jane@example.org>", "Jörg Maß <j@example.org>")
    for wrong in ("jane@example.org", "<jane@example.org>", "Jane Doe", "Jane <jane>", "Jane <j@example.org> x"):
        (error,) = told(f'[antispam]\nown_names = ["{wrong}"]\n')
        assert "own_names" in error


def test_lists_come_from_files_too(tmp_path: Path) -> None:
    file = tmp_path / "white.txt"
    file.write_text("a@b.example, @c.example  # until 2030-01-31 the fair\n# nobody else\n!192.0.2.0/24\n")
    config = config_of(f'[policy]\nwhite_list = ["x@y.example", "file:{file}"]\n')
    assert config.policy.white_list == (
        "x@y.example",
        "a@b.example until 2030-01-31",
        "*@c.example until 2030-01-31",
        "!192.0.2.0/24",
    )


@pytest.mark.parametrize("prefix", ["SpamTest", "X-", "X-Spam Test", "X-Spam-", "X-Späm"])
def test_a_prefix_must_make_field_names(prefix: str) -> None:
    assert told(f'[antispam]\nheader_prefix = "{prefix}"\n')
    assert not told('[antispam]\nheader_prefix = "X-Gate"\n')


def test_an_unknown_action_is_answered_with_those_there_are() -> None:
    (error,) = told('[policy]\naction_spam = ["mark", "destroy"]\n')
    assert "unknown action 'destroy'; one of block, delete, keywords, mark" in error
    assert "redirect:ADDRESS" in error
