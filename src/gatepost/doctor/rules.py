"""The administrator's rule set: which one is in force. Faults in its files refuse a start or a reload."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State

AREA: Final = "rules"


def check_rules(config: Config, _now: float) -> Iterator[Finding]:
    """Look at the rule set; where rules are not switched on there is nothing to say."""
    if not config.profiles.enabled:
        return
    rules = config.rule_set
    place = config.profiles.path if Path(config.profiles.path).is_dir() else "as shipped"
    common, personal = ([ref.file for ref in refs if ref.active] for refs in (rules.common, rules.personal))
    if not common and not personal:
        mend = "switch profiles on in the console or with `gatepost rules`, or set `[profiles] enabled = false`"
        yield Finding("rules", AREA, State.WARNING, f"no profile of the rule set is active ({place})", mend)
        return
    number = sum(len(rules.profiles[file].rules) for file in (*common, *personal))
    text = f"{number} rules in {len(common)} common and {len(personal)} personal profiles are in force ({place})"
    yield Finding("rules", AREA, State.OK, text)
