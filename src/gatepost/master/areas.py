"""Areas of the desk that live by their calls alone: configuration, lists, rules, texts, samples, probes, statistics.

Called once by `master.process`; what an area can do is in its own module. An area that also works in the background, or
that another one needs, is made by `master.process` itself.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from gatepost.config.schema import Config
from gatepost.control.desk import Desk
from gatepost.master.configuration import Configuration
from gatepost.master.lists import Lists
from gatepost.master.own_samples import OwnSamples
from gatepost.master.own_texts import OwnTexts
from gatepost.master.paths import Paths
from gatepost.master.probes import Probes
from gatepost.master.profiles import Profiles
from gatepost.master.relays import Relays
from gatepost.master.statistics import register as register_statistics
from gatepost.master.what_if import register as register_shadows


def register_areas(
    desk: Desk,
    *,
    file: Path,
    overrides: Sequence[str],
    paths: Paths,
    state_path: str,
    config: Callable[[], Config],
    relays: Relays,
    status: Callable[[], Awaitable[dict[str, Any]]],
    reload: Callable[[], Awaitable[str]],
    say: Callable[[str, str], None],
) -> None:
    """Register the calls of each. `status` as `master.calls` answers it, `reload` as `master.process`."""
    register_shadows(desk, config, status)
    register_statistics(desk, config=config, status=status, say=say)
    Probes(desk, config, status).register()
    Configuration(file=file, overrides=overrides, state_path=state_path, reload=reload, say=say).register(desk)
    OwnSamples(paths.own_spam, file).register(desk)
    OwnTexts(config, reload).register(desk)
    Profiles(config, reload, say).register(desk)
    Lists(state_path, config, lambda: relays.ask_all("lists", state_path=state_path), say).register(desk)
