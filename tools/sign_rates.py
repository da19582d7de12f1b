"""How often each sign of the anti-spam checks is found in the ham and the spam of a labelled set.

    python tools/sign_rates.py SET.tar.gz … [--check headers] [--show SIGN] [--limit N]

A set is an archive with `NAME/index.tsv` (columns id, label, date, flags, source) beside its messages. For every sign:
its weight, hits in percent of the ham and of the spam, and what these hits would say for its weight: the logarithm of
their ratio, one hit added on both sides. Ends with the sums of weights that ham and spam reach.
"""

import argparse
import csv
import datetime as dt
import io
import math
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gatepost.antispam.checks import build_checks
from gatepost.antispam.content import inspect_content
from gatepost.antispam.headers.addresses import parse_mailboxes
from gatepost.antispam.knowledge import load_packaged
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamFacts, SpamOptions

LEVELS = (1.0, 2.0, 3.4, 5.2)
"""Sums of weights: 3.4 is Probable Spam and 5.2 Spam at the default level."""


def read_set(path: Path, limit: int) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield (row of the index, message) in order of the index."""
    with tarfile.open(path) as archive:
        contents = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        [index] = [name for name in contents if name.endswith("/index.tsv")]
        folder = index.rpartition("/")[0]
        table = contents[index]
        assert table is not None
        rows = list(csv.DictReader(io.StringIO(table.read().decode()), delimiter="\t"))
        step = max(1, len(rows) // limit) if limit else 1
        for row in rows[::step]:
            file = contents[f"{folder}/{row['id']}"]
            assert file is not None
            content = file.read()
            yield row, content.partition(b"\n")[2] if "mboxfrom" in row["flags"] else content


def make_options(row: dict[str, str], content: bytes) -> SpamOptions:
    """Return what the relay would have known of a message: the envelope sender is in Return-Path, if anywhere."""
    message = parse(content)
    paths = [content[field.value : field.value_end] for field in message.root.fields if field.name == b"return-path"]
    boxes = parse_mailboxes(paths[0]) if paths else ()
    now = 0.0 if row["date"] == "-" else dt.datetime.fromisoformat(row["date"]).timestamp()
    return SpamOptions(sender=boxes[0].address if boxes else "", now=now, office=True)


def main() -> None:
    """Print the table of every set."""
    parser = argparse.ArgumentParser(description="Hits of every sign in labelled sets.")
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--check", help="this check alone")
    parser.add_argument("--show", help="list the ids of messages with this sign, and its evidence")
    parser.add_argument("--limit", type=int, default=0, help="about so many messages of each set")
    arguments = parser.parse_args()
    checks = [each for each in build_checks(load_packaged()) if arguments.check in {None, each.name}]
    for path in arguments.sets:
        totals: Counter[str] = Counter()
        hits: dict[str, Counter[str]] = {"ham": Counter(), "spam": Counter()}
        weights: dict[str, float] = {}
        over: dict[str, Counter[float]] = {"ham": Counter(), "spam": Counter()}
        formal: Counter[str] = Counter()
        for row, content in read_set(path, arguments.limit):
            label = row["label"]
            totals[label] += 1
            facts: SpamFacts = inspect_content(parse(content), make_options(row, content), checks)
            if facts.trouble:
                print(f"{row['id']}: {facts.trouble}")
            formal[label] += bool(facts.formal)
            for sign in {sign.name: sign for sign in facts.signs}.values():
                hits[label][sign.name] += 1
                weights[sign.name] = sign.weight
                if sign.name == arguments.show:
                    print(f"{label} {row['source']} {row['id']}: {sign.evidence}")
            reached = sum(sign.weight for sign in facts.signs)
            over[label].update(level for level in LEVELS if reached >= level)
        _print(path.name, totals, hits, weights)
        for label in ("ham", "spam"):
            shares = ", ".join(f"{level:g}: {over[label][level] / max(1, totals[label]):.2%}" for level in LEVELS)
            print(f"{label} at or over {shares}; formal {formal[label]}")


def _print(name: str, totals: Counter[str], hits: dict[str, Counter[str]], weights: dict[str, float]) -> None:
    ham, spam = max(1, totals["ham"]), max(1, totals["spam"])
    print(f"\n{name}: {ham} ham, {spam} spam\n{'sign':32} weight   ham      %   spam      %   told")
    for sign in sorted(weights, key=lambda each: -hits["spam"][each] / spam):
        good, bad = hits["ham"][sign], hits["spam"][sign]
        told = math.log(((bad + 1) / (spam + 1)) / ((good + 1) / (ham + 1)))
        print(f"{sign:32} {weights[sign]:6.2f} {good:5} {good / ham:6.2%} {bad:6} {bad / spam:6.2%} {told:6.2f}")


if __name__ == "__main__":
    main()
