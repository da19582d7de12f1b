"""The format of the state directory at a start: fresh ones are stamped, older ones brought up, newer ones refused.

Called by `master.state_directory`, which holds the directory's lock; nothing has been opened in it yet.
"""

from pathlib import Path

from gatepost.config.schema import Config
from gatepost.migration.carrying import carry_out
from gatepost.migration.parts import CURRENT
from gatepost.migration.plan import plan_migration
from gatepost.migration.stamp import StampError, read_stamp


def settle_format(config: Config, now: float) -> list[str]:
    """Have the state directory in this program's format; return what was done, for the log. MigrationError."""
    try:
        stamp = read_stamp(Path(config.relay.state_path))
    except StampError:
        stamp = None  # the plan says what is wrong
    if stamp is not None and stamp.format == CURRENT:
        return []
    plan = plan_migration(config)
    done: list[str] = []
    kept = carry_out(plan, config, now, say=done.append)
    if plan.start not in {0, CURRENT}:
        copies = f"; copies of what it was: {kept}" if kept is not None else ""
        done.append(f"the state directory was brought from format {plan.start} to {CURRENT}{copies}")
    return done
