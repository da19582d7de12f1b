"""`gatepost trace`: where a mail is and why: its life as a time line, or the mails that match.

Asks the running gateway; one that does not run has its files read, if whoever asks may.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, EXIT_NOT_DONE, AsJson, ConfigFile, complain, print_json
from gatepost.cli.trace_view import show_life, show_row, show_rows, show_time, show_waiting
from gatepost.config.load import load
from gatepost.control.socket import ControlError, call, listens
from gatepost.master.paths import Paths
from gatepost.model.foreign_text import printable
from gatepost.model.ids import parse_queue_id
from gatepost.recorder.answers import Answers, answer_safely
from gatepost.recorder.masking import Masking, load_mask_key

LISTED: Final = 500
"""Mails one search gives at most."""
FOLLOW_S: Final = 1.0
FOLLOWED: Final = 200
"""Mails looked at for news at each turn."""
WAITING: Final = frozenset({"waiting", "deferred", "held"})
"""Outcomes with which somebody still waits for a mail."""
_RECORDER: Final = "process:recorder"
"""Key of the problem that nothing is put on record now (`doctor.running`)."""
_WORDS: Final = ("text", "sender", "recipient", "subject", "client", "message_id")
_SPANS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FORMS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")

Ask = Callable[[str, dict[str, Any]], Any]
From = Annotated[str, cyclopts.Parameter(name="--from", help="sender: an address, @domain, the beginning and *")]
To = Annotated[str, cyclopts.Parameter(name="--to", help="recipient, in the same way")]
Since = Annotated[str, cyclopts.Parameter(help="from when on: 30m, 2h, 7d, 2026-01-31, '2026-01-31 13:00'")]

Limit = Annotated[int, cyclopts.Parameter(help="mails listed", validator=cyclopts.validators.Number(gte=1, lte=LISTED))]
Follow = Annotated[bool, cyclopts.Parameter(negative="", help="go on, and show what comes")]


def trace(
    *query: str,
    sender: From = "",
    recipient: To = "",
    subject: str = "",
    client: str = "",
    status: str = "",
    finding: str = "",
    hop: str = "",
    message_id: str = "",
    since: Since = "",
    until: str = "",
    limit: Limit = 20,
    follow: Follow = False,
    json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Show the life of a mail as a time line, or the mails that match, newest first.

    Parameters
    ----------
    query
        What is at hand: a queue id, an address, or two of who wrote to whom, a client, a message id, words of the
        subject. A `*` at the end stands for anything; between two of them a part is looked for.
    subject
        Words of the subject.
    client
        Address or name of the client.
    status
        What became of it (delivered, deferred, quarantined, refused …) or what was found (infected, spam …).
    finding
        Name of a sign or a threat, or cause of a refusal.
    hop
        Server it was offered to.
    message_id
        Message-ID, as the field of the header has it, or the beginning and `*`.
    until
        Up to when, as in --since.

    """
    arguments: dict[str, Any] = {
        "text": " ".join(query),
        "sender": sender,
        "recipient": recipient,
        "subject": subject,
        "client": client,
        "status": status,
        "finding": finding,
        "hop": hop,
        "message_id": message_id,
        "limit": limit,
    }
    try:
        now = time.time()
        arguments |= {name: parse_moment(text, now) for name, text in (("since", since), ("until", until)) if text}
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    ask = ask_or_read(conf_file)
    try:
        if follow:
            return _follow(ask, arguments, json=json)
        return _show(ask, arguments, json=json)
    except ControlError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)


def parse_moment(text: str, now: float) -> float:
    """Return the moment (Unix seconds) that `30m`, `7d` before now or a date stand for. ValueError."""
    span = re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip())
    if span is not None:
        return now - int(span[1]) * _SPANS[span[2]]
    for form in _FORMS:
        try:
            return time.mktime(time.strptime(text.strip(), form))
        except ValueError:
            continue
    raise ValueError(f"{text!r} is no moment: 30m, 2h, 7d, 2026-01-31 or '2026-01-31 13:00'")


def ask_or_read(conf_file: Path) -> Ask:
    """Return what answers: the gateway, or its files when it does not run. SystemExit when neither can be found."""
    loaded = load(conf_file)
    if not loaded.state_path:
        raise SystemExit(complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code))
    paths = Paths(loaded.state_path)

    def ask(name: str, arguments: dict[str, Any]) -> Any:
        try:
            return call(paths.control, name, **arguments)
        except ControlError as error:
            if listens(paths.control) or loaded.config is None or not paths.tracking.is_dir():
                raise
            tracking = loaded.config.tracking
            return _read_files(
                paths.tracking, tracking.subjects.value, tracking.addresses.value, name, arguments, error
            )

    return ask


def _read_files(
    directory: Path, subjects: str, addresses: str, name: str, arguments: dict[str, Any], why: ControlError
) -> Any:
    try:
        masking = Masking(subjects, addresses, load_mask_key(directory))
        return answer_safely(Answers(directory, lambda: masking), name, arguments)
    except OSError:
        raise why from None
    except ValueError as error:
        raise ControlError(str(error)) from error


def _show(ask: Ask, arguments: dict[str, Any], *, json: bool) -> int:
    answer = ask("tracking.search", arguments)
    mails = answer["mails"]
    if len(mails) == 1 and not answer["cursor"]:
        life = ask("tracking.mail", {"id": mails[0]["id"]})
        waiting = _waiting(ask, life)
        if json:
            print_json({**life, "waiting": waiting})
        else:
            print("\n".join([*show_life(life), *show_waiting(waiting, time.time())]))
        return 0
    if json:
        print_json(answer)
    else:
        _list(answer)
        if not mails and not answer["cursor"]:
            print("\n".join(_explain_nothing(ask, arguments)))
    return 0 if mails else EXIT_NOT_DONE


def _waiting(ask: Ask, life: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what of a mail and its copies is in the queue now: what rests with its destination has no record of it."""
    mail = life["mail"]
    if mail["outcome"] not in WAITING:
        return []
    waiting = []
    for queue_id in dict.fromkeys([mail["id"], *(each["id"] for each in life["records"] if each.get("id"))]):
        with contextlib.suppress(ControlError, ValueError):  # gone meanwhile, or the gateway does not run
            shown = ask("show", {"id": parse_queue_id(queue_id)})
            if shown:
                waiting.append(shown)
    return waiting


def _explain_nothing(ask: Ask, arguments: dict[str, Any]) -> Iterator[str]:
    """Yield that there is nothing, and where to look next."""
    yield "nothing matches"
    with contextlib.suppress(ControlError):  # the gateway does not run
        for each in ask("problems", {})["problems"]:
            if each["key"] == _RECORDER:
                yield f"- {printable(each['text'])}: what came lately may be in the queue: gatepost queue list"
    asked = [str(arguments.get(name) or "") for name in _WORDS]
    if any(asked) and not any("*" in text for text in asked):
        yield "- known in part only? a * stands for the rest: gatepost trace 'anna*', or '*invoice*' (slower)"
    if not asked[_WORDS.index("client")]:
        yield "- refused before it named sender and recipient? gatepost trace --client ADDRESS-OR-NAME-OF-THE-SERVER"
    if arguments.keys() & {"since", "until"}:
        yield "- at another time? leave out --since and --until"
    yield "- longer ago than `[tracking] retention`? its records are gone; kept mail is not: gatepost quarantine list"
    yield "- else it has not come here: look for it on the server that should have sent it"


def _list(answer: dict[str, Any]) -> None:
    mails = answer["mails"]
    for line in show_rows(mails):
        print(line)
    if answer["cursor"]:
        back = show_time(answer["back_until"])
        print(f"looked back until {back}: there may be more, say --until '{back}' or more of what is sought")


def _follow(ask: Ask, arguments: dict[str, Any], *, json: bool) -> int:
    """Show each mail that matches when it comes, and again when its outcome changes, until interrupted."""
    arguments = {**arguments, "limit": FOLLOWED}
    arguments.setdefault("since", time.time() - 10)
    shown: dict[str, str] = {}
    try:
        while True:
            for mail in reversed(ask("tracking.search", arguments)["mails"]):
                if shown.get(mail["id"]) != mail["outcome"]:
                    shown[mail["id"]] = mail["outcome"]
                    if json:
                        print_json(mail)
                    else:
                        print("  ".join(show_row(mail)), flush=True)
            while len(shown) > 2 * FOLLOWED:
                del shown[next(iter(shown))]
            time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        return 0
