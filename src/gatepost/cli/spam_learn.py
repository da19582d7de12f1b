"""`gatepost spam learn|forget|undo|status|recent|model`: teaching the classifier of a running gateway.

A filter of the gateway reads the messages behind its walls; the learner gets only what can be learned of them.
"""

import asyncio
import base64
import datetime as dt
import getpass
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec

from gatepost.cli.choice import Yes, agreed
from gatepost.cli.gateway import (
    DEFAULT_FILE,
    EXIT_BAD_OPTIONS,
    EXIT_SYSTEM,
    AsJson,
    Caller,
    ConfigFile,
    complain,
    print_json,
)
from gatepost.cli.spam_mails import iterate_mails
from gatepost.cli.store_choice import Failed
from gatepost.cli.told_message import find_stored
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.filter.pool import FilterFailed, FilterPool, FilterUnavailable
from gatepost.master.paths import Paths
from gatepost.model.finding import ScanOptions
from gatepost.model.foreign_text import printable
from gatepost.model.spam import SpamOptions
from gatepost.notices.text import clean_text
from gatepost.relay.filters import filter_settings

Messages = Annotated[
    list[str],
    cyclopts.Parameter(
        name="messages", negative="",
        help="Files, folders with all below, mailboxes (mbox), or ids of stored messages: of the item, or queue ids.",
    ),
]  # fmt: skip
Domain = Annotated[str, cyclopts.Parameter(help="for recipients of this domain only")]
EXIT_NOT_ALL: Final = 4
"""Some messages were not learned: the command has said which."""
_TOLD: Final = 20
"""Messages told of one by one."""
_OUTCOMES: Final = {
    "learned": "learned",
    "known": "learned before",
    "moved": "learned otherwise before, changed",
    "forgotten": "forgotten",
    "unknown": "not learned before",
    "failed": "not readable",
}


def learn(
    messages: Messages,
    /,
    *,
    spam: Annotated[bool, cyclopts.Parameter(negative="", help="they are spam")] = False,
    ham: Annotated[bool, cyclopts.Parameter(negative="", help="they are wanted")] = False,
    domain: Domain = "",
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Teach messages: files, folders with all below, mailboxes (mbox), or stored ones. The same message counts once.

    Codes: 0 done, 1 wrong options, 3 no gateway, 4 not all of them could be learned.
    """
    if spam == ham:
        return complain("say either --spam or --ham", EXIT_BAD_OPTIONS)
    return _teach(messages, conf_file, "learn", as_json=as_json, spam=spam, domain=domain)


def forget(
    messages: Messages,
    /,
    *,
    domain: Domain = "",
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Take back what these messages taught. Codes as of `learn`."""
    return _teach(messages, conf_file, "forget", as_json=as_json, domain=domain)


def undo(
    who: Annotated[str, cyclopts.Parameter(help="Name, as `gatepost spam recent` shows it.")],
    /,
    *,
    hours: Annotated[float, cyclopts.Parameter(help="of the last so many hours; 0 = all")] = 24.0,
    yes: Yes = False,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Take back all that somebody taught, having asked."""
    when = f"within the last {hours:g} hours" if hours else "ever"
    if not agreed(f"take back all that {printable(who)} taught {when}?", yes=yes):
        return EXIT_BAD_OPTIONS
    since = time.time() - hours * 3600 if hours else 0.0
    number = Caller(conf_file)("learning", call="undo", who=who, since=since)
    if as_json:
        print_json({"taken_back": number})
    else:
        print(f"{number} messages taken back")
    return 0


def status(*, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> int:
    """Say how much was learned, from whom, and how well it agrees with what is taught now."""
    told = Caller(conf_file)("learning", call="status")
    if as_json:
        print_json(told)
        return 0
    recent, wrong = told["recent"], told["recent_disagreed"]
    print(f"Learned: {told['spam']} spam, {told['ham']} wanted; {told['journal']} of them can be taken back")
    print(f"Weight of what was learned: {told['trust']:.0%}; slots in use: {told['weights_used']:.1%}")
    if bool(told["spam"]) != bool(told["ham"]):
        print(f"It counts as soon as {'wanted mail' if told['spam'] else 'spam'} is taught as well")
    if told["domains"]:
        print(f"Domains with weights of their own: {', '.join(told['domains'])}")
    if recent:
        print(
            f"Of the last {recent} lessons {wrong} ({wrong / recent:.0%}) contradicted what the classifier thought,"
            f" {told['recent_disagreed_ham']} of them wanted mail"
        )
        for name, number in told["teachers"].items():
            print(f"  {clean_text(name, 100)}: {number}")
    return 0


def recent(
    *,
    limit: Annotated[int, cyclopts.Parameter(help="how many")] = 20,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """List the latest lessons, newest first."""
    rows = Caller(conf_file)("learning", call="recent", limit=limit)
    if as_json:
        print_json(rows)
        return 0
    for row in rows:
        at = dt.datetime.fromtimestamp(row["at"], dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        label = "spam" if row["spam"] else "ham"
        whose = f" for {row['domain']}" if row["domain"] else ""
        who = clean_text(row["who"], 60)
        print(
            f"{at} {label:4} {row['digest'][:16]} {row['source']} {who}{whose}, thought before: {row['opinion']:+.2f}"
        )
    return 0


ModelFile = Annotated[Path, cyclopts.Parameter(help="what spam model export writes, and import and merge read")]
model = cyclopts.App(name="model", help="What was learned, as a file: backup, restore, share.")


@model.command
def export(file: ModelFile, /, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Write what was learned to a file (below a directory that the gateway's user may write to)."""
    Caller(conf_file)("learning", call="export", file=str(file.resolve()))
    return 0


@model.command(name="import")
def import_model(file: ModelFile, /, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Put a file in the place of what was learned, having asked; single messages can then no longer be taken back."""
    if not agreed(f"put {file} in the place of all that was learned? (`spam model export` keeps it)", yes=yes):
        return EXIT_BAD_OPTIONS
    Caller(conf_file)("learning", call="import", file=str(file.resolve()), merge=False)
    return 0


@model.command
def merge(file: ModelFile, /, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Mix a file with what was learned, each by its messages, having asked; single ones can then not be taken back."""
    if not agreed(f"mix {file} with what was learned? (`spam model export` keeps it as it is)", yes=yes):
        return EXIT_BAD_OPTIONS
    Caller(conf_file)("learning", call="import", file=str(file.resolve()), merge=True)
    return 0


@model.command
def reset(*, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Forget everything that was learned, having asked."""
    if not agreed("forget all that was learned? (`spam model export` keeps it)", yes=yes):
        return EXIT_BAD_OPTIONS
    Caller(conf_file)("learning", call="reset")
    return 0


def teach_messages(
    mails: Iterable[tuple[str, bytes]], config: Config, conf_file: Path, call: str, **arguments: object
) -> Counter[str]:
    """Teach (or forget) messages; return how many came to what. SystemExit when the gateway does not answer."""
    caller = Caller(conf_file)
    caller("learning", call="status")  # without a gateway there would be a long wait for its filters
    counted: Counter[str] = Counter()
    for name, lesson in _lessons(mails, config):
        if not lesson:
            counted["failed"] += 1
            if counted["failed"] <= _TOLD:
                print(f"{clean_text(name, 200)}: could not be read", file=sys.stderr)
            continue
        packed = base64.b64encode(lesson).decode()
        counted[caller("learning", call=call, lesson=packed, who=getpass.getuser(), **arguments)] += 1
    return counted


def teach_stored(mails: Iterable[tuple[str, bytes]], conf_file: Path) -> tuple[str, bool]:
    """Teach stored messages (name, content) as wanted; return what to tell, and whether all of them were learned.

    `Failed`.
    """
    counted = _teach_all(mails, conf_file, "learn", spam=False, domain="")
    return _summary(counted), not counted["failed"]


def _teach(messages: list[str], conf_file: Path, call: str, *, as_json: bool, **arguments: object) -> int:
    try:
        counted = _teach_all(_iterate_told(messages, conf_file), conf_file, call, **arguments)
    except Failed as failed:
        return failed.say()
    if as_json:
        print_json({key: counted[key] for key in _OUTCOMES})
    else:
        print(_summary(counted))
    return EXIT_NOT_ALL if counted["failed"] else 0


def _teach_all(mails: Iterable[tuple[str, bytes]], conf_file: Path, call: str, **arguments: object) -> Counter[str]:
    loaded = load(conf_file)
    if loaded.config is None:
        raise Failed("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    try:
        return teach_messages(mails, loaded.config, conf_file, call, **arguments)
    except (OSError, FilterUnavailable) as error:
        raise Failed(f"stopped before all was done: {error}", EXIT_SYSTEM) from error


def _summary(counted: Counter[str]) -> str:
    return ", ".join(f"{counted[key]} {text}" for key, text in _OUTCOMES.items() if counted[key]) or "no messages"


def _iterate_told(messages: list[str], conf_file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of all messages that a command names. OSError, `Failed`."""
    for text in messages:
        path = Path(text)
        stored = None if path.exists() else find_stored(text, conf_file)
        if stored is not None:
            yield text, stored.content
        elif path.exists():
            yield from iterate_mails((path,))
        else:
            raise Failed(f"{text}: no such file, and the id of no stored message either", EXIT_SYSTEM)


def _lessons(mails: Iterable[tuple[str, bytes]], config: Config) -> Iterator[tuple[str, bytes]]:
    """Yield each message's name with what a filter of the gateway says can be learned of it, b"" for nothing."""
    paths = Paths(config.relay.state_path)
    settings = msgspec.structs.replace(filter_settings(config, 1), minimum=0, spare=1)
    options = ScanOptions(scan=False, spam=_learn_options(config))
    with asyncio.Runner() as runner:
        pool = FilterPool(settings, paths.filters, runner.get_loop())

        async def ask(content: bytes) -> bytes:
            analysis = await pool.inspect("learning", content, len(content), options)
            return analysis.spam.lesson if analysis.spam is not None else b""

        async def start() -> None:
            pool.start()

        runner.run(start())
        try:
            for name, content in mails:
                try:
                    yield name, runner.run(ask(content))
                except FilterFailed:
                    yield name, b""
        finally:
            runner.run(pool.close())


def _learn_options(config: Config) -> SpamOptions:
    return SpamOptions(
        learn=True, hostname=config.network.hostname, header_prefix=config.antispam.header_prefix, images=False
    )
