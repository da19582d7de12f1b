"""A configuration file that the gateway would not start with is a problem while the gateway still runs."""

from pathlib import Path

from gatepost.config.default import build_default_config
from gatepost.doctor.finding import State
from gatepost.master.configuration_watch import ConfigurationWatch


def test_a_file_that_is_damaged_removed_and_mended(tmp_path: Path) -> None:
    file = tmp_path / "gatepost.toml"
    good = build_default_config(state_path=str(tmp_path / "state"), hostname="mx.corp.example")
    file.write_text(good)
    watch = ConfigurationWatch(file, ())
    assert watch.look() == []

    file.write_text(good.replace("[network]", '[network]\nresolvers = "'))
    (found,) = watch.look()
    assert (found.key, found.state) == ("configuration-file", State.ERROR)
    assert "not TOML" in found.text
    assert watch.look() == [found]

    file.unlink()
    (gone,) = watch.look()
    assert gone.key == found.key
    assert "cannot be read" in gone.text

    file.write_text(good)
    assert watch.look() == []


def test_many_errors_are_counted_and_overrides_count_as_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "gatepost.toml"
    good = build_default_config(state_path=str(tmp_path / "state"), hostname="mx.corp.example")
    file.write_text(good)
    overrides = [f"limits.{name}=none" for name in ("incoming_sessions", "outgoing_sessions", "maximal_incoming_hops")]
    (found,) = ConfigurationWatch(file, [*overrides, "timeouts.minimal_backoff_time=none"]).look()
    assert "and 1 more" in found.text


def test_a_file_that_it_names_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "gatepost.toml"
    text = build_default_config(state_path=str(tmp_path / "state"), hostname="mx.corp.example")
    template = tmp_path / "gone.tmpl"
    file.write_text(
        text.replace("[policy]\n", f'[policy]\nadd_disclaimer = true\ndisclaimer_template = "{template}"\n')
    )
    watch = ConfigurationWatch(file, ())
    (found,) = watch.look()
    assert str(template) in found.text
    template.write_text("-- \n")
    assert watch.look() == []
