"""Presets of anti-spam and anti-virus together (row F-ASR-14), and the older word for the level: both are defaults
for what the file does not say itself. Called by `config.assemble`.
"""

from typing import Final

from gatepost.config.collect import Collected
from gatepost.config.services import Preset

Values = dict[str, object]

_DEFAULTS: Final[dict[str, dict[str, Values]]] = {
    Preset.SPEED: {
        "ave": {"use_clean_cache": True, "scan_archives": True},
        "policy": {"use_surbl": False, "use_uds": False},
    },
    Preset.RECOMMENDED: {},
    Preset.PROTECTION: {
        "ave": {"cure": True},
        "policy": {
            "spam_level": "high",
            "save_in_quarantine": ("infected", "suspicious", "spam", "probable_spam", "blacklisted"),
        },
    },
}
"""By section (specification antispam.md §9)."""


def apply_preset(collected: Collected, data: dict[str, Values]) -> None:
    """Put the defaults of the preset, and the level that `spam_detection` names, in place of those of the schema."""
    antispam = data["antispam"]
    wanted = {section: dict(values) for section, values in _DEFAULTS[str(antispam["preset"])].items()}
    if "spam_detection" in collected.tables.get(("antispam", 0), {}):
        wanted.setdefault("policy", {})["spam_level"] = antispam["spam_detection"]
    for section, values in wanted.items():
        given = collected.tables.get((section, 0), {})
        data[section] |= {name: value for name, value in values.items() if name not in given}
