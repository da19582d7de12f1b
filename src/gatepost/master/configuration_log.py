"""The configuration in force as lines of the log, for debugging (level 9; specification management.md §7.1).

Called by `master.process` when one is taken into use. Secrets are not told.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from gatepost.config.dump import build_effective
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.config.withheld import mask_secrets

DEBUGGING = 9
"""Log level at which the lines are written."""


def say_configuration(config: Config, file: Path, overrides: Sequence[str], say: Callable[[str, str], None]) -> None:
    """Write down what is in force and where each value comes from, if the log is that detailed."""
    if config.options.log_level < DEBUGGING:
        return
    loaded = load(file, overrides=tuple(overrides))
    text = mask_secrets(build_effective(loaded, config, origins=True), "effective.toml")
    for line in text.splitlines():
        if line:
            say("D", f"configuration: {line}")
