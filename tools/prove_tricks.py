"""`make prove NAME=tricks [ARGS="--most 300"]`: spam of all sets played with every trick, with and without classifier.

Ends with 1 when a trick hides more than a fifth of what is found without it. The table goes into docs/detection.md. The
shipped model knows mail of two of the sets: the third, and the runs without the classifier, show what the other checks
are worth.
"""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.trick_trial import LOST_LIMIT, Trial, corpus, play, read_letters, table  # noqa: E402

from gatepost.antispam.checks import build_checks  # noqa: E402
from gatepost.antispam.knowledge import load_packaged  # noqa: E402
from gatepost.antispam.ocr.recogniser import load_recogniser  # noqa: E402
from gatepost.model.spam import Method  # noqa: E402
from result_pages import DOCS, made_at, write_section  # noqa: E402

SHARED = Path(os.environ.get("GATEPOST_SHARED", ROOT.parent / "shared"))
SETS = {"spamassassin-2002": 6, "modern-2019-2024": 12, "inbox-2023-2025": 1}
"""With the step between messages that are taken: they are spread over all years of a set."""


def main() -> int:
    """Play, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=300, help="letters of each set")
    most = parser.parse_args().most
    checks = build_checks(load_packaged())
    reader = load_recogniser("", time.monotonic)
    trials: dict[str, Trial] = {}
    for name, step in SETS.items():
        archive = corpus(SHARED, name)
        letters = read_letters(archive, "spam", most, step=step)
        hams = [letter.plain for _, letter in read_letters(archive, "ham", 20)]
        trials[name] = play(letters, hams, checks)
        trials[f"{name}, no classifier"] = play(letters, hams, checks, frozenset({Method.LEARNED}))
        if reader is not None:
            trials[f"{name}, pictures read"] = play(letters, hams, checks, reader=reader, tricks=["image_of_text"])
        print(table(trials), flush=True)
    text = f"{made_at()}; `make prove NAME=tricks`, {most} letters of each set at most.\n\n{table(trials)}"
    write_section("tricks", text, DOCS / "detection.md")
    worst = max(row.share for name in SETS for row in trials[name].rows)
    return 1 if worst > LOST_LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
