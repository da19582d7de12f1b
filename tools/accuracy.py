"""How well spam is told from wanted mail: `make accuracy`, `tools/accuracy.py [--quick] [--no-peers] [--set SET]`.

Every set apart, raw and cleaned of what only tells where it was collected; untrained, by a base model made without the
set, and learning on line (classify, then teach, in order of receipt). The same messages go to the peers that are
installed. Runs are kept below `build/accuracy`: what is complete is not made again until the sources change. The result
is a section of `docs/detection.md`.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from accuracy_figures import Labels, Scores, Share, area_above, missed_at, missed_with, reliability
from accuracy_peers import PEERS
from accuracy_runs import OURS, OURS_LEARNING, PLACE, Plan, Score, run
from accuracy_sets import OWN_HOSTS
from result_pages import DOCS, made_at, write_section

STEPS = {"modern-2019-2024": 4}
"""Of a large set every so many messages are used."""
QUICK_STEP = 10
ENOUGH_HAM = 1_000
"""Wanted messages below which a percentage would claim too much: counts are told."""
SPAM_FROM, PROBABLE_FROM = 90.0, 60.0
"""Ratings of the default level (specification antispam.md §3)."""
BANDS = (0.0, 1.0, 5.0, 20.0, 40.0, 60.0, 80.0, 90.0, 99.0, 100.0)
FORMS = ("raw", "cleaned")
NOT_RUN = "not run"


def main() -> None:
    parser = argparse.ArgumentParser(description="How well spam is told from wanted mail.")
    parser.add_argument("--quick", action="store_true", help="every tenth message, no peers, nothing written")
    parser.add_argument("--no-peers", action="store_true", help="only Gatepost, and what is known of the peers")
    parser.add_argument("--set", action="append", default=[], choices=sorted(OWN_HOSTS), help="only these sets")
    options = parser.parse_args()
    sets = options.set or list(OWN_HOSTS)
    started = time.monotonic()
    text = "\n".join(_report(sets, quick=options.quick, peers=not options.no_peers and not options.quick))
    print(text)
    print(f"\n{time.monotonic() - started:.0f} s")
    if NOT_RUN in text:
        print("docs/detection.md stays: a page without the other filters' figures would drop those it has")
    elif not options.quick and not options.set:
        write_section("accuracy", text, DOCS / "detection.md")


def _report(sets: Sequence[str], *, quick: bool, peers: bool) -> Iterator[str]:
    yield f"`make accuracy`, {made_at()}. Spam is what is rated {SPAM_FROM:.0f} or more (default level); peers at their"
    yield "default thresholds. Untrained runs use a base model made without the set and its near-duplicates. Columns"
    yield "«missed» say how much spam is missed when 0.1 % or 1 % of wanted mail is lost, whatever the threshold. Peers"
    yield "that score a sample are trained with everything; the next column gives Gatepost on the same sample. The sets"
    yield "do not tell the recipient of the envelope: it is the first address that To or Cc names."
    yield ""
    yield "None of the sets is a blind test: features, bounds and rates were chosen while looking at their figures, and"
    yield "some written examples of the base model after seeing what was missed in the inbox and the recent set:"
    yield "untrained figures of these are too bright. rspamd had neither name servers nor mail of today, which its"
    yield "rules count on."
    for name in sets:
        step = QUICK_STEP if quick and name != "inbox-2023-2025" else STEPS.get(name, 1)
        for form in FORMS:
            yield from _table(name, form, step, peers=peers)
    yield from _calibration(sets, quick=quick)


def _table(name: str, form: str, step: int, *, peers: bool) -> Iterator[str]:
    ours = {filter_: run(Plan(name, form, filter_, step)) for filter_ in (OURS, OURS_LEARNING)}
    counts = Counter(score.spam for score in ours[OURS])
    few = counts[False] < ENOUGH_HAM
    yield ""
    yield f"### {name}, {form}: {counts[False]} wanted, {counts[True]} spam" + (
        f" (every {step}th)" if step > 1 else ""
    )
    yield ""
    yield "| filter | (1-ROCA)% | missed at 0.1 % / 1 % lost | wanted mail called spam | spam missed | Gatepost there |"
    yield "|---|---:|---:|---:|---:|---|"
    for filter_, scores in ours.items():
        yield _row(filter_, scores, SPAM_FROM, few=few)
        yield _row(f"{filter_}, Spam or Probable", scores, PROBABLE_FROM, few=few)
    for filter_, kind in PEERS.items():
        if form == "cleaned" and filter_ != "bogofilter":
            continue  # without headers their rules mean nothing
        plan = Plan(name, form, filter_, step)
        if not plan.made and not (peers and kind.installed()):
            yield f"| {filter_} | {NOT_RUN} | | | | |"
            continue
        scores = run(plan)
        yield _row(filter_, scores, kind.threshold, few=few, beside=ours[OURS_LEARNING if kind.learns else OURS])


def _row(
    title: str, scores: Sequence[Score], threshold: float | None, *, few: bool, beside: Sequence[Score] = ()
) -> str:
    spam, values = _columns(scores)
    caught = values >= threshold if threshold is not None else np.zeros(len(values), np.bool_)
    false, missed = (
        Share(int(caught[~spam].sum()), int((~spam).sum())),
        Share(int((~caught[spam]).sum()), int(spam.sum())),
    )
    cells = [f"{area_above(spam, values):.3f}"]
    if few:
        at = f"{missed_with(spam, values, 0)} with none lost"
        cells += [at, str(false), str(missed)]
    else:
        cells += [
            f"{missed_at(spam, values, 0.001):.1f} / {missed_at(spam, values, 0.01):.1f}",
            f"{false.number} ({100 * false.number / false.of:.2f} %)",
            f"{100 * missed.number / missed.of:.1f} %",
        ]
    if not beside:
        return f"| {title} | {' | '.join(cells)} | |"
    names = {score.name for score in scores}
    their_spam, theirs = _columns([score for score in beside if score.name in names])
    compared = missed_with(their_spam, theirs, false.number)
    where = (
        f"misses {compared} of {int(their_spam.sum())} with {false.number} lost; {area_above(their_spam, theirs):.3f}"
    )
    return f"| {title} | {' | '.join(cells)} | {where} |"


def _calibration(sets: Sequence[str], *, quick: bool) -> Iterator[str]:
    yield ""
    yield "### What a rating means"
    yield ""
    yield "Of the messages rated so, the share that was spam in percent (and their number). Spam is a different share"
    yield "of each set, which moves all of its rows."
    yield ""
    columns = []
    for name in sets:
        step = QUICK_STEP if quick and name != "inbox-2023-2025" else STEPS.get(name, 1)
        for filter_ in (OURS, OURS_LEARNING):
            bands = reliability(*_columns(run(Plan(name, "raw", filter_, step))), BANDS)
            columns.append(
                (f"{name}{', learning' if filter_ == OURS_LEARNING else ''}", {row[0]: row for row in bands})
            )
    yield f"| rating | {' | '.join(title for title, _ in columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for low, high in pairwise(BANDS):
        cells = [f"{rows[low][4]:.1f} ({rows[low][2]})" if low in rows else "" for _, rows in columns]
        yield f"| {low:.0f}-{high:.0f} | {' | '.join(cells)} |"


def _columns(scores: Sequence[Score]) -> tuple[Labels, Scores]:
    return np.array([score.spam for score in scores], np.bool_), np.array([score.score for score in scores], np.float64)


if __name__ == "__main__":
    PLACE.mkdir(parents=True, exist_ok=True)
    main()
