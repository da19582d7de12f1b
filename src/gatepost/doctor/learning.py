"""What was learned of mail: can filters use it, can more be learned? Pure; for the gateway and `gatepost doctor`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatepost.doctor.finding import Finding, State
from gatepost.storage.weights_file import Look

AREA: Final = "learning"


def judge_weights(file: Path, look: Look) -> Iterator[Finding]:
    """Judge the file of learned weights by a look at it."""
    if look.trouble:
        text = f"the learned weights {file} cannot be used: {look.trouble}; mail is rated by the base model alone"
        mend = (
            "the running gateway makes the file anew of what was taught; if this stays: give its user the directory "
            "and room there, and look at the log"
        )
        yield Finding("learning:weights", AREA, State.WARNING, text, mend)


def judge_values(file: Path, trouble: str) -> Iterator[Finding]:
    """Judge what was found among the values in the file of learned weights, "" when nothing was."""
    if trouble:
        text = f"learned weights {file}: {trouble}; mail that meets them is rated by the base model alone"
        mend = (
            "the running gateway makes them anew of what was taught within the hour; if this stays: `gatepost restore` "
            "journal and snapshot of a backup, or `gatepost spam model reset` and teach anew"
        )
        yield Finding("learning:values", AREA, State.WARNING, text, mend)


def judge_learner(folder: Path, trouble: str) -> Iterator[Finding]:
    """Judge why the learner did not start, "" when it did. `folder`: where it keeps what was taught."""
    if trouble:
        mend = (
            f"give the gateway's user {folder} and room there; put back a journal or snapshot that is damaged from a "
            "backup (`gatepost restore`): it is tried again by itself"
        )
        text = f"nothing more can be learned: {trouble}"
        yield Finding("learning:learner", AREA, State.WARNING, text, mend)
