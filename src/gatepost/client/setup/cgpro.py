"""Set-up of CommuniGate Pro: a script that starts the helper, its settings, its secret; the rest is said in words.

CommuniGate keeps its own settings behind its administration pages, so these are left to the administrator.
"""

import secrets
import sys
from typing import Final

from gatepost.client.setup.files import read_state
from gatepost.client.setup.service import new_file, plan_settings
from gatepost.client.setup.values import Change, Plan, SetupError, Wanted

MODES: Final = ("helper",)
_SCRIPT: Final = """\
#!/bin/sh
# Helper of CommuniGate Pro: filters mail with Gatepost. Made by `gatepost client setup cgpro`.
exec {python} -I -m gatepost.client cgpro -c {settings}
"""


def plan_cgpro(wanted: Wanted) -> Plan:
    """Return what set-up changes. `wanted.config` is CommuniGate's base directory, /var/CommuniGate. SetupError."""
    if wanted.mode not in {"", *MODES}:
        raise SetupError(f"--mode {wanted.mode}: CommuniGate Pro has {', '.join(MODES)}")
    if not wanted.config.is_dir():
        raise SetupError(f"{wanted.config} is not there; name CommuniGate's base directory with --config")
    key = wanted.settings.with_name("communigate.key")
    _, changes = plan_settings(wanted, {"submitted_dir": str(wanted.config / "Submitted"), "loop_key": str(key)})
    if read_state(key) is None:
        changes = (*changes, Change(str(key), None, new_file(f"{secrets.token_hex(32)}\n".encode(), 0o600)))
    script = wanted.config / "gatepost-helper"
    text = _SCRIPT.format(python=sys.executable, settings=wanted.settings).encode()
    there = read_state(script)
    if there is None or there.content != text:
        changes = (*changes, Change(str(script), there, new_file(text, 0o755)))
    return Plan(
        system="cgpro",
        mode="helper",
        changes=changes,
        then=(
            f"Settings > General > Helpers > Content Filtering: {script}, time-out 2 minutes, auto-restart 15 s",
            "Settings > Mail > Rules: a rule for all domains: Message Size less than 400000 > External Filter Gatepost",
        ),
    )
