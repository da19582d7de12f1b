"""`make prove NAME=release`: SIGKILL at every step of a release; each stored message goes out once.

Each round puts a mail into quarantine, has an operator release it, and kills the relay that does so before or after one
of the three steps: the claim in the store, the acceptance by the spool, the note in the store. In a part of the rounds
several operators begin at once. Then the operator insists, as one who was told of trouble would. At the end every mail
has arrived exactly once. The result goes into docs/reliability.md.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.releases import STEPS, ReleaseTrial  # noqa: E402

from result_pages import made_at, write_section  # noqa: E402

ROUNDS_OF_A_GATEWAY = len(STEPS)
"""Then a new one: the more often a relay ends the longer it is kept from starting."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    dice = random.Random(options.seed)
    began = time.monotonic()
    done = Counter[str]()
    several = 0
    while done.total() < options.rounds:
        with tempfile.TemporaryDirectory(prefix="prove-release-") as place, ReleaseTrial(Path(place)) as trial:
            for _ in range(min(ROUNDS_OF_A_GATEWAY, options.rounds - done.total())):
                step = STEPS[done.total() % len(STEPS)]
                operators = dice.choice((1, 1, 3))
                several += operators > 1
                trial.round(step, operators)
                done[step] += 1
            released = trial.check()
        print(
            f"  {done.total()} of {options.rounds} rounds, {released} mails of this gateway arrived once each",
            flush=True,
        )
    took = time.monotonic() - began
    rows = "".join(f"| {step} | {done[step]} |\n" for step in STEPS)
    text = (
        f'{made_at()}, `make prove NAME=release ARGS="--rounds {options.rounds}"`, {took / 60:.0f} minutes: '
        f"{done.total()} releases, {several} of them begun by several operators; each mail arrived once.\n\n"
        f"| relay killed | rounds |\n|---|---|\n{rows}"
    )
    write_section("release", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
