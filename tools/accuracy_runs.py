"""One run of one filter over one set, kept on disk: `run`. Used by `tools/accuracy.py`.

A run that was cut off begins anew; one that is complete is read back, until its key changes.
"""

import functools
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import msgspec
import numpy as np

from accuracy_peers import PEERS, Peer
from accuracy_sets import Item, read_items
from build_model import gather, make_model
from gatepost.antispam.check import Check
from gatepost.antispam.checks import build_checks
from gatepost.antispam.classifier.check import MODEL_NAME, ClassifierCheck
from gatepost.antispam.classifier.features import extract
from gatepost.antispam.classifier.learned import Learned, blank
from gatepost.antispam.classifier.model import BaseModel, parse_model
from gatepost.antispam.classifier.training import apply_state, apply_step, plan_step
from gatepost.antispam.content import inspect_content
from gatepost.antispam.knowledge import Knowledge, load_packaged
from gatepost.antispam.rating import rate
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.learned_weights import HEADER_BITS
from model_sources import PERMITTED, ROOT

PLACE = ROOT / "build" / "accuracy"
OURS = "Gatepost"
OURS_LEARNING = "Gatepost, learning"
PROGRESS_S = 5.0
SMALL = 1_000
"""Messages up to which every filter scores all."""


class Score(msgspec.Struct, frozen=True, array_like=True):
    """What a filter said of one message."""

    spam: bool
    part: str
    name: str
    score: float


class Plan(msgspec.Struct, frozen=True):
    """A run to be made."""

    set: str
    form: str
    """raw or cleaned."""
    filter: str
    step: int = 1
    """Every which message of the set is used."""

    @property
    def learns(self) -> bool:
        return self.filter == OURS_LEARNING or (self.filter in PEERS and PEERS[self.filter].learns)

    @property
    def ours(self) -> bool:
        return self.filter in {OURS, OURS_LEARNING}

    @property
    def path(self) -> Path:
        """Where its scores are kept."""
        stem = f"{self.set}-{self.form}-{self.step}-{self.filter}".replace(" ", "-").replace(",", "")
        return PLACE / f"{stem}-{state_of_sources() if self.ours else 'peer'}.json"

    @property
    def made(self) -> bool:
        return self.path.exists()


def run(plan: Plan) -> list[Score]:
    """Return the scores of a run, from disk if it was made before."""
    if plan.made:
        return msgspec.json.decode(plan.path.read_bytes(), type=list[Score])
    PLACE.mkdir(parents=True, exist_ok=True)
    items = list(read_items(plan.set, plan.form, plan.step))
    with tempfile.TemporaryDirectory(prefix="accuracy-") as scratch:
        scores = _run_ours(plan, items) if plan.ours else _run_peer(PEERS[plan.filter], items, plan, Path(scratch))
    plan.path.write_bytes(msgspec.json.encode(scores))
    return scores


def _run_peer(kind: type[Peer], items: Sequence[Item], plan: Plan, scratch: Path) -> list[Score]:
    found = []
    step = kind.step if len(items) > SMALL else 1
    with kind(scratch) as peer:
        for number, item in _progress(items, plan):
            if number % step == 0:
                found.append(Score(item.spam, item.part, item.name, peer.score(item)))
            if kind.learns:
                peer.train(item)
    return found


def _run_ours(plan: Plan, items: Sequence[Item]) -> list[Score]:
    base = base_without(plan.set)
    learned = Learned(blank()) if plan.learns else None
    checks = _checks(base, learned)
    squares = np.zeros(1 << HEADER_BITS, np.float32)
    found = []
    for _, item in _progress(items, plan):
        message = parse(item.content)
        facts = inspect_content(message, item.options, checks)
        found.append(Score(item.spam, item.part, item.name, rate(facts.signs)))
        if learned is not None:
            features = extract(build_view(message, item.options))
            step = plan_step(features, item.spam, base, learned, squares, "", 1.0)
            apply_step(step, features, learned.gateway, squares)
            learned.state = apply_state(step, learned.state)
    return found


def base_without(name: str) -> BaseModel:
    """Return the base model made without a set, and without near-duplicates of it; kept on disk."""
    barred = (name,) if name in PERMITTED else ()
    digest = hashlib.sha256()
    folder = ROOT / "src/gatepost/antispam/classifier"
    for each in sorted([*folder.glob("*.py"), *(ROOT / "tools").glob("model_*.py"), ROOT / "tools/build_model.py"]):
        digest.update(each.read_bytes())
    for each in sorted((ROOT / "tools/model_texts").glob("*.txt")):
        digest.update(each.read_bytes())
    path = PLACE / f"base-without-{name}-{digest.hexdigest()[:12]}.mpk"
    if not path.exists():
        path.write_bytes(make_model([*gather(barred)]))
    return parse_model(path.read_bytes())


def _checks(base: BaseModel, learned: Learned | None) -> list[Check]:
    """Return the shipped checks with another base model."""
    packaged = load_packaged()
    others = Knowledge({path: data for path, data in packaged.files.items() if not path.endswith(MODEL_NAME)})
    return [*build_checks(others), ClassifierCheck(base, learned)]


@functools.cache
def state_of_sources() -> str:
    """Return a short digest of what our runs depend on."""
    digest = hashlib.sha256()
    for folder in ("antispam", "mime"):
        for path in sorted((ROOT / "src/gatepost" / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _progress(items: Sequence[Item], plan: Plan) -> Iterable[tuple[int, Item]]:
    shown = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - shown > PROGRESS_S:
            shown = time.monotonic()
            print(f"  {plan.filter}: {plan.set} {plan.form} {number}/{len(items)}", file=sys.stderr, flush=True)
        yield number, item
