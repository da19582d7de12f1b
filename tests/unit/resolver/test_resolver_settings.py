"""Cache times of generation 5.0 reach the resolver when they were set; the warning about retries knows both spellings."""

import pytest
from resolver_bench import build_config

from gatepost.config.dump import build_effective
from gatepost.config.load import load_text
from gatepost.config.problem import Severity

HEAD = '[network]\nhostname = "mx.test"\nlisten_on = ["127.0.0.1:2525"]\n'
OLDER = """[timeouts]
unresolved_cache_refresh_period = 120
unreachable_cache_refresh_period = 240
mx_cache_refresh_period = 360
"""


def test_without_them_the_defaults_of_the_newer_ones_count() -> None:
    resolve = build_config().resolve
    assert (resolve.unresolved_ttl, resolve.unreachable_ttl, resolve.mx_cache_threshold) == (600, 600, 0)


def test_older_cache_times_count_when_set() -> None:
    config = load_text(HEAD + OLDER, "/nowhere/g.toml").config
    assert config is not None
    resolve = config.resolve
    assert (resolve.unresolved_ttl, resolve.unreachable_ttl, resolve.mx_cache_threshold) == (120, 240, 360)


def test_the_newer_ones_win() -> None:
    newer = "[resolve]\nunresolved_ttl = 1\nunreachable_ttl = 2\nmx_cache_threshold = 3\n"
    config = load_text(HEAD + OLDER + newer, "/nowhere/g.toml").config
    assert config is not None
    resolve = config.resolve
    assert (resolve.unresolved_ttl, resolve.unreachable_ttl, resolve.mx_cache_threshold) == (1, 2, 3)


@pytest.mark.parametrize("older", ["", OLDER])
def test_what_is_shown_loads_again_to_the_same(older: str) -> None:
    loaded = load_text(HEAD + older, "/nowhere/g.toml")
    assert loaded.config is not None
    assert not [problem for problem in loaded.problems if problem.section in {"timeouts", "resolve"}]
    shown = build_effective(loaded, loaded.config, origins=False)
    assert load_text(shown, "/nowhere/g.toml").config == loaded.config


@pytest.mark.feature("F-ROUT-11")
@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("unreachable_cache_refresh_period = 1800\n", [("timeouts", "unreachable_cache_refresh_period")]),
        ("unreachable_cache_refresh_period = 1799\n", []),
        ("minimal_backoff_time = 600\n", [("resolve", "unreachable_ttl")]),
    ],
)
def test_a_life_that_reaches_the_next_retry_is_warned_of(rows: str, named: list[tuple[str, str]]) -> None:
    loaded = load_text(f"{HEAD}[timeouts]\n{rows}", "/nowhere/g.toml")
    unreachable = [p for p in loaded.problems if "unreachable" in p.name]
    assert [(p.section, p.name) for p in unreachable] == named
    assert {p.severity for p in unreachable} <= {Severity.WARNING}
