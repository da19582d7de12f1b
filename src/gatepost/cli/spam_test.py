"""`gatepost spam test PATH…` and `gatepost spam evaluate INDEX.tsv`: many messages rated, and how well.

Works on a configuration file, without a running gateway: filters of its own look at the messages, behind the same
walls. Network checks are not asked. What was learned counts, nothing is learned.
"""

import asyncio
import csv
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, AsJson, ConfigFile, complain, print_json
from gatepost.cli.spam_mails import iterate_mails
from gatepost.cli.told_message import STRANGER
from gatepost.cli.trial import TrialError, choose_bases, running_template
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.feeds.bases import BasesError
from gatepost.feeds.keys import BadKey
from gatepost.filter.pool import FilterFailed, FilterPool, FilterUnavailable
from gatepost.licence.key import LicenceError
from gatepost.master.learning import WEIGHTS_FILE
from gatepost.master.paths import Paths
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import SpamStatus
from gatepost.model.verdict import SpamVerdict
from gatepost.notices.text import clean_text
from gatepost.policy.group import GroupPolicy, GroupTable, scan_options
from gatepost.policy.spam import decide_spam
from gatepost.relay.filters import filter_settings

EXIT_NOT_INSPECTED: Final = 3
SIGNS_SHOWN: Final = 4
NAME_SHOWN: Final = 40
"""Last characters of a name in the table."""
_TROUBLES: Final = (TrialError, FilterUnavailable, BasesError, BadKey, LicenceError, OSError)
_Recipient = Annotated[
    str,
    cyclopts.Parameter(name="--to", help="Recipient, who chooses the group; else our postmaster."),
]


class Rated(msgspec.Struct, frozen=True):
    """One message, rated."""

    name: str
    status: str
    rate: int
    signs: tuple[str, ...]
    """The heaviest first."""
    milliseconds: float


def rate_files(
    paths: Annotated[
        list[Path], cyclopts.Parameter(negative="", help="Files, folders with all below, or mailboxes (mbox).")
    ],
    /,
    *,
    to: _Recipient = "",
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Rate messages: files, folders with all below, mailboxes (mbox). A line each, and how many of which status.

    Codes: 0 done, 3 not inspected; 65 and 66 as of `config check`.
    """
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    counted: Counter[str] = Counter()
    rows = []
    try:
        for rated in rate_mails(loaded.config, iterate_mails(paths), to):
            counted[rated.status] += 1
            if as_json:
                rows.append(rated)
            else:
                name = clean_text(rated.name[-NAME_SHOWN:], NAME_SHOWN * 2)
                signs = clean_text(", ".join(rated.signs), 200)
                print(f"{name:40} {rated.status:14} {rated.rate:3} {rated.milliseconds:7.1f} ms  {signs}", flush=True)
    except _TROUBLES as error:
        return complain(f"not all messages could be inspected: {error}", EXIT_NOT_INSPECTED)
    if as_json:
        print_json(rows)
    else:
        print(", ".join(f"{number} {status}" for status, number in counted.most_common()) or "no messages")
    return 0


def evaluate(
    index: Annotated[
        Path,
        cyclopts.Parameter(help="Table of id (a file beside it), label (spam, ham) and perhaps source, with tabs."),
    ],
    /,
    *,
    to: _Recipient = "",
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Rate labelled messages and say how well: a table with the columns id (path beside it), label (ham or spam) and
    perhaps source; figures for each source.

    Codes: 0 done, 1 no such table, 3 not inspected; 65 and 66 as of `config check`.
    """
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    try:
        labels = read_index(index)
    except (OSError, ValueError, KeyError) as error:
        return complain(f"{index}: {error}", EXIT_BAD_OPTIONS)
    found: dict[str, list[tuple[bool, Rated]]] = defaultdict(list)
    try:
        mails = ((name, (index.parent / name).read_bytes()) for name in labels)
        for rated in rate_mails(loaded.config, mails, to):
            spam, source = labels[rated.name]
            found[source].append((spam, rated))
    except _TROUBLES as error:
        return complain(f"not all messages could be inspected: {error}", EXIT_NOT_INSPECTED)
    rows = {source: describe_quality(each) for source, each in sorted(found.items())}
    if as_json:
        print_json(rows)
        return 0
    for source, row in rows.items():
        print(f"{source}: " + ", ".join(f"{title} {value}" for title, value in row.items()))
    return 0


def read_index(path: Path) -> dict[str, tuple[bool, str]]:
    """Return label (is it spam?) and source of each message. OSError, KeyError, ValueError."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows, 2):
        if row["label"] not in {"ham", "spam"}:
            raise ValueError(f"line {number}: label {row['label']!r}, neither ham nor spam")
    return {row["id"]: (row["label"] == "spam", row.get("source") or "all") for row in rows}


def describe_quality(rated: list[tuple[bool, Rated]]) -> dict[str, str]:
    """Return the figures of one source."""
    spam = [each for label, each in rated if label]
    ham = [each for label, each in rated if not label]
    marked = {SpamStatus.SPAM.value, SpamStatus.BLACKLISTED.value}
    likely = marked | {SpamStatus.PROBABLE_SPAM.value}
    figures = {
        "wanted": str(len(ham)),
        "called Spam": str(sum(each.status in marked for each in ham)),
        "or Probable": str(sum(each.status in likely for each in ham)),
        "spam": str(len(spam)),
        "missed": str(sum(each.status not in marked for each in spam)),
        "not even Probable": str(sum(each.status not in likely for each in spam)),
    }
    if spam and ham:
        figures["(1-ROCA)%"] = f"{area_above([each.rate for each in spam], [each.rate for each in ham]):.3f}"
    return figures


def area_above(spam: list[int], ham: list[int]) -> float:
    """Return in percent how often a wanted message is rated above spam; ties count half."""
    ranks = Counter(ham)
    above, total = 0.0, 0
    higher: dict[int, float] = {}
    for rate in range(101):
        higher[rate] = sum(number for value, number in ranks.items() if value > rate) + ranks[rate] / 2
    for rate in spam:
        above += higher[min(100, max(0, rate))]
        total += len(ham)
    return 100.0 * above / total


def rate_mails(config: Config, mails: Iterable[tuple[str, bytes]], recipient: str) -> Iterator[Rated]:
    """Yield each message rated by the group of a recipient; "" means the postmaster of the first protected domain.
    Those that no filter survives have the status `error`.

    TrialError, FilterUnavailable, and what databases raise.
    """
    table = GroupTable.from_config(
        config.groups, config.ave, config.filter.filter_deadline, config.network.protected_domains, config.antispam
    )
    domains = config.network.protected_domains
    recipient = recipient or f"postmaster@{domains[0].replace('*', 'any') if domains else config.network.hostname}"
    group = table.resolve("", recipient)
    options = scan_options([group])
    if options is None or options.spam is None:
        raise TrialError(f"the group of {recipient} does not check for spam")
    options = msgspec.structs.replace(options, scan=False)
    with tempfile.TemporaryDirectory(prefix="gatepost-") as directory, asyncio.Runner() as runner:
        bases = choose_bases(config, Path(directory))
        settings = msgspec.structs.replace(
            filter_settings(config, 1), minimum=1, spare=1, bases=bases.antivirus, spam_bases=bases.spam,
            bases_cache=directory, learned=str(Paths(config.relay.state_path).learned / WEIGHTS_FILE),
        )  # fmt: skip
        socket = Path(directory) / "filters.sock"
        with running_template(settings, socket):
            pool = FilterPool(settings, socket, runner.get_loop())

            async def start() -> None:
                pool.start()

            async def ask(content: bytes) -> Analysis | None:
                try:
                    return await pool.inspect("spam-test", content, len(content), options)
                except FilterFailed:
                    return None

            runner.run(start())
            try:
                for name, content in mails:
                    started = time.perf_counter()
                    analysis = runner.run(ask(content))
                    yield _rated(name, analysis, group, recipient, time.perf_counter() - started)
            finally:
                runner.run(pool.close())


def _rated(name: str, analysis: Analysis | None, group: GroupPolicy, recipient: str, seconds: float) -> Rated:
    if analysis is None:
        return Rated(name, "error", 0, (), seconds * 1000)
    envelope = Envelope("", (Recipient(recipient),), Client(ip=STRANGER))
    verdict: SpamVerdict | None = decide_spam(analysis, envelope, group, time.time())
    assert verdict is not None
    heaviest = sorted(verdict.signs, key=lambda sign: -abs(sign.weight))[:SIGNS_SHOWN]
    signs = tuple(f"{sign.name} {sign.weight:+.1f}" for sign in heaviest)
    spent = analysis.spam.elapsed_ms if analysis.spam is not None else seconds * 1000
    return Rated(name, verdict.status.value, verdict.rate, signs, spent)
