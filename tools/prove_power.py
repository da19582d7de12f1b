"""Proves that no power cut loses accepted mail: cuts it under a working spool again and again, and checks what is left.

The work is resumable: every finished round is noted in build/prove-power.json, and a second call goes on after it. The
result goes into docs/reliability.md. Exit code 0 only when nothing was wrong and every sync that was switched off on
purpose was missed.
"""

import argparse
import sys
import time
from pathlib import Path

import msgspec

from gatepost.testing.faulty_vfs import SYNCS
from gatepost.testing.power_trial import PowerTrial
from result_pages import made_at, write_section

STATE = Path(__file__).resolve().parent.parent / "build" / "prove-power.json"

CUTS_PER_DISK = 5
"""Cuts one disk lives through: recovery of a recovered disk is tested too."""

MUTANT_CUTS = 100
"""Cuts within which a missing sync has to be found; in practice it takes fewer than ten."""


class Progress(msgspec.Struct):
    """What has been done so far."""

    seed: int
    cuts: int = 0
    promises: int = 0
    problems: list[str] = []
    found_after: dict[str, int] = {}
    """For each sync switched off: cuts until the loss was noticed."""
    seconds: float = 0.0


def load(path: Path | None, seed: int) -> Progress:
    if path is None or not path.exists():
        return Progress(seed)
    progress = msgspec.json.decode(path.read_bytes(), type=Progress)
    return progress if progress.seed == seed else Progress(seed)


def save(path: Path | None, progress: Progress) -> None:
    if path is not None:
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(msgspec.json.encode(progress))
        fresh.replace(path)


def prove(progress: Progress, cuts: int, state: Path | None) -> None:
    while progress.cuts < cuts and not progress.problems:
        start = time.monotonic()
        trial = PowerTrial(progress.seed + progress.cuts)
        trial.run(min(CUTS_PER_DISK, cuts - progress.cuts))
        progress.problems += [f"disk {progress.seed + progress.cuts}: {problem}" for problem in trial.problems]
        progress.cuts += trial.cuts
        progress.promises += trial.promises
        progress.seconds += time.monotonic() - start
        save(state, progress)
        if sys.stdout.isatty():
            sys.stdout.write(f"\r{progress.cuts} of {cuts} cuts ")
            sys.stdout.flush()
    sys.stdout.write(f"\r{progress.cuts} cuts, {progress.promises} changes promised before them\n")


def prove_syncs_needed(progress: Progress, state: Path | None) -> None:
    """Switch each class of sync off in turn: the loss has to be noticed."""
    for sync in SYNCS:
        cuts = 0
        while sync not in progress.found_after and cuts < MUTANT_CUTS:
            trial = PowerTrial(progress.seed + cuts, [sync])
            trial.run(CUTS_PER_DISK)
            cuts += trial.cuts
            if trial.problems:
                progress.found_after[sync] = cuts
                save(state, progress)
        found = progress.found_after.get(sync)
        words = f"missed after {found} cuts" if found else f"NOT MISSED in {cuts} cuts"
        sys.stdout.write(f"without the sync of {sync}: {words}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    STATE.parent.mkdir(exist_ok=True)
    progress = load(STATE, arguments.seed)
    prove(progress, arguments.cuts, STATE)
    for problem in progress.problems:
        sys.stdout.write(f"PROBLEM {problem}\n")
    prove_syncs_needed(progress, STATE)
    good = not progress.problems and progress.found_after.keys() == set(SYNCS)
    noticed = ", ".join(f"{name} after {cuts}" for name, cuts in progress.found_after.items())
    write_section(
        "power",
        f"`make prove NAME=power ARGS='--cuts {arguments.cuts} --seed {arguments.seed}'`, {made_at()}: "
        f"{progress.cuts} power cuts at random moments of a random workload, {progress.promises} changes promised "
        f"before them, {len(progress.problems)} lost or half done. With one class of sync switched off the loss is "
        f"noticed within these many cuts: {noticed}.",
    )
    STATE.unlink()
    sys.stdout.write("power: passed\n" if good else "power: FAILED\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
