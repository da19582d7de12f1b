"""`gatepost client`: the programs that stand at other mail systems, and their set-up. docs/manual/clients.md tells how.

Exit codes of `test`, `setup`, `undo` and `status`: 0 done; 1 wrong options, or the question was answered with no; 2 a
file cannot be read or written; 4 not done, the reason is told. The programs have those of what they stand in for.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from gatepost.cli.gateway import AsJson, complain, print_json
from gatepost.client.program import DEFAULT_FILE, run_program
from gatepost.client.settings import ClientSettings, read_settings
from gatepost.client.setup.files import diff_of
from gatepost.client.setup.journal import EDITED, applied, apply_plan, conflicts, journal_of
from gatepost.client.setup.journal import undo as undo_journal
from gatepost.client.setup.planning import SYSTEMS
from gatepost.client.setup.values import SetupError, Wanted
from gatepost.model.envelope import Client
from gatepost.model.filtering import Purpose, Request, Ruling
from gatepost.service.judge import Unjudged

EXIT_BAD_OPTIONS = 1
EXIT_UNREADABLE = 2
EXIT_NOT_DONE = 4

ClientFile = Annotated[Path, cyclopts.Parameter(name=["-c", "--conf-file"], help="settings file of the client")]
ToStderr = Annotated[
    bool, cyclopts.Parameter(name="--stderr", negative="", help="log to standard error instead of syslog")
]
Rest = Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True, help="what the program is told besides")]
System = Annotated[str, cyclopts.Parameter(help="postfix, sendmail, exim, qmail or cgpro")]
DryRun = Annotated[bool, cyclopts.Parameter(negative="", help="show what would change, and change nothing")]
Yes = Annotated[bool, cyclopts.Parameter(negative="", help="do not ask")]
StateDirectory = Annotated[Path, cyclopts.Parameter(name="--state", help="where the files as they were are kept")]
DEFAULT = Path(DEFAULT_FILE)
STATE = Path("/var/lib/gatepost-setup")
"""Not below the gateway's own directory: root writes what is in it, and nobody else may."""
UNITS = Path("/etc/systemd/system")
CHECK_S = 60
"""For the mail system to look at its files."""
PROBE = b"From: <>\r\nTo: <>\r\nSubject: test of the filtering server\r\n\r\nThis message is no mail.\r\n"

app = cyclopts.App(name="client", help="Filtering for mail systems that stay: their client programs, set-up and undo.")


@app.command
def milter(*arguments: Rest, conf_file: ClientFile = DEFAULT, to_stderr: ToStderr = False) -> int:
    """Run the milter for Sendmail, Postfix and others, in the foreground."""
    return run_program("milter", conf_file, arguments, to_stderr=to_stderr)


@app.command
def pipe(*arguments: Rest, conf_file: ClientFile = DEFAULT, to_stderr: ToStderr = False) -> int:
    """Run the SMTP and LMTP filter for Postfix, Exim and others: as a server, or for one session or message."""
    return run_program("pipe", conf_file, arguments, to_stderr=to_stderr)


@app.command
def qmail(*arguments: Rest, conf_file: ClientFile = DEFAULT, to_stderr: ToStderr = False) -> int:
    """Filter one message as qmail-queue gets it, and hand it to the original program."""
    return run_program("qmail", conf_file, arguments, to_stderr=to_stderr)


@app.command
def cgpro(*arguments: Rest, conf_file: ClientFile = DEFAULT, to_stderr: ToStderr = False) -> int:
    """Run the helper of CommuniGate Pro; that starts it."""
    return run_program("cgpro", conf_file, arguments, to_stderr=to_stderr)


@app.command(name="test")
def try_servers(
    message: Annotated[Path | None, cyclopts.Parameter(help="file with a message; without one a harmless one")] = None,
    /,
    *,
    sender: Annotated[str, cyclopts.Parameter(help="envelope sender")] = "",
    recipient: Annotated[tuple[str, ...], cyclopts.Parameter(negative="", help="envelope recipient, repeatable")] = (),
    client_ip: Annotated[str, cyclopts.Parameter(help="address it is said to come from")] = "",
    as_json: AsJson = False,
    conf_file: ClientFile = DEFAULT,
) -> int:
    """Greet every configured filtering server, and ask what it makes of a message. Nothing else is done with it."""
    settings = _settings(conf_file)
    if isinstance(settings, int):
        return settings
    try:
        content = PROBE if message is None else message.read_bytes()
    except OSError as error:
        return complain(f"{message}: {error.strerror}", EXIT_UNREADABLE)
    request = Request(client=Client(client_ip), sender=sender, recipients=recipient, purpose=Purpose.ASK)
    servers, answer = asyncio.run(_test(settings, request, content))
    if as_json:
        told = msgspec.to_builtins(answer) if isinstance(answer, Ruling) else None
        print_json({"servers": servers, "ruling": told, "unjudged": answer if isinstance(answer, str) else ""})
    else:
        for address, trouble in servers.items():
            print(f"{address}: {trouble or 'answers'}")
        print(answer if isinstance(answer, str) else _ruling_text(answer))
    return EXIT_NOT_DONE if isinstance(answer, str) or any(servers.values()) else 0


@app.command
def setup(
    system: System,
    /,
    *,
    mode: Annotated[str, cyclopts.Parameter(help="how the mail system is to ask; the manual lists them")] = "",
    config: Annotated[Path | None, cyclopts.Parameter(help="directory of the mail system's files")] = None,
    server: Annotated[
        tuple[str, ...], cyclopts.Parameter(negative="", help="filtering server for new settings, repeatable")
    ] = (),
    door: Annotated[str, cyclopts.Parameter(help="a door that the mail system asks itself, without a client")] = "",
    clamd: Annotated[str, cyclopts.Parameter(help="Exim: a door of kind clamd")] = "",
    units: Annotated[Path | None, cyclopts.Parameter(help="where the client's systemd unit goes")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    state: StateDirectory = STATE,
    conf_file: ClientFile = DEFAULT,
) -> int:
    """Set a mail system up for filtering: show the difference, ask, apply it. `gatepost client undo` takes it back."""
    known = SYSTEMS.get(system)
    if known is None:
        return complain(f"{system!r} is none of {', '.join(SYSTEMS)}", EXIT_BAD_OPTIONS)
    if units is None and config is None and UNITS.is_dir():
        units = UNITS  # not beside a configuration elsewhere, as in a trial
    wanted = Wanted(  # what is written is read from elsewhere: by the service manager, the mail system, and undo
        config=(config or known.directory).absolute(),
        mode=mode,
        servers=server,
        door=door,
        clamd=clamd,
        settings=conf_file.absolute(),
        units=units.absolute() if units is not None else None,
    )
    try:
        if (begun := journal_of(state, system)) is not None and not begun.complete:
            return complain(f"set-up was interrupted: first gatepost client undo {system}", EXIT_NOT_DONE)
        plan = known.plan(wanted)
        if not plan.changes:
            print(f"{system}: everything is set up as wanted, nothing to do")
            return 0
        if begun is not None:
            return complain(f"{system} is set up in another way; first gatepost client undo {system}", EXIT_NOT_DONE)
        print("".join(diff_of(each) for each in plan.changes), end="")
        if dry_run:
            return 0
        if not yes and not _agreed(f"Change {len(plan.changes)} files?"):
            return EXIT_BAD_OPTIONS
        sound = not _checked(plan.check)
        apply_plan(plan, state, int(time.time()))
        if sound and (trouble := _checked(plan.check)):
            journal = journal_of(state, system)
            assert journal is not None, "it was written a moment ago"
            undo_journal(state, journal)
            return complain(f"{trouble}\n{system} does not take these files: all were put back", EXIT_NOT_DONE)
    except SetupError as error:
        return complain(str(error), EXIT_NOT_DONE)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}; it broke off half-way: gatepost client undo {system}"
        return complain(text, EXIT_UNREADABLE)
    if not sound:
        print(f"{' '.join(plan.check)} complained before set-up as it does now: look at that first")
    print(f"{system} is set up. What is left to do:")
    for each in plan.then:
        print(f"  {each}")
    return 0


@app.command
def undo(
    system: System,
    /,
    *,
    force: Annotated[bool, cyclopts.Parameter(negative="", help="put files back that were edited since")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    state: StateDirectory = STATE,
) -> int:
    """Put the files of a mail system back as they were before set-up, byte for byte, with mode and owner."""
    if system not in SYSTEMS:
        return complain(f"{system!r} is none of {', '.join(SYSTEMS)}", EXIT_BAD_OPTIONS)
    try:
        journal = journal_of(state, system)
        if journal is None:
            return complain(f"{system} is not set up (nothing below {state})", EXIT_NOT_DONE)
        edited = conflicts(state, journal)
        for each in edited:
            print(f"# edited since set-up:\n{each.difference}", end="")
        if edited and not force:
            text = f"Nothing was changed. --force puts them back all the same, and keeps them below {state / EDITED}"
            return complain(text, EXIT_NOT_DONE)
        print(f"Back as before {_date(journal.at)}:")
        for step in journal.steps:
            print(f"  {step.path}")
        if dry_run:
            return 0
        if not yes and not _agreed(f"Put {len(journal.steps)} files back?"):
            return EXIT_BAD_OPTIONS
        undo_journal(state, journal, force=force)
    except SetupError as error:
        return complain(str(error), EXIT_NOT_DONE)
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}; call undo again when that is mended", EXIT_UNREADABLE)
    for each in edited:
        if each.copy.exists():
            print(f"{each.path} as it was edited: {each.copy}")
    print(f"{system} is as it was. Reload or restart it, and stop the client program if it had one")
    return 0


@app.command
def status(*, as_json: AsJson = False, state: StateDirectory = STATE) -> int:
    """Show which mail systems of this host are set up, and whether their files are still as set-up left them."""
    try:
        found = [(each, [conflict.path for conflict in conflicts(state, each)]) for each in applied(state)]
    except SetupError as error:
        return complain(str(error), EXIT_NOT_DONE)
    if as_json:
        print_json([{**msgspec.to_builtins(each), "edited": edited} for each, edited in found])
        return 0
    for each, edited in found:
        print(f"{each.system}: {each.mode}, {_date(each.at)}{'' if each.complete else ', INTERRUPTED: undo it'}")
        for step in each.steps:
            print(f"  {step.path}{', edited since' if step.path in edited else ''}")
    if not found:
        print("no mail system is set up")
    return 0


def _date(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _agreed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _checked(command: Sequence[str]) -> str:
    """Return what the mail system says against its files; "" for nothing, and when it is not installed here."""
    if not command:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)  # noqa: S603
    except FileNotFoundError:
        return ""
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return f"{' '.join(command)}:\n{done.stderr}{done.stdout}" if done.returncode else ""


def _settings(file: Path) -> ClientSettings | int:
    read = read_settings(file)
    for problem in read.problems:
        print(problem, file=sys.stderr)
    return read.settings or EXIT_UNREADABLE


async def _test(settings: ClientSettings, request: Request, content: bytes) -> tuple[dict[str, str], Ruling | str]:
    from gatepost.client.remote import RemoteJudge  # noqa: PLC0415 - the other commands do without

    try:
        judge = RemoteJudge(settings.remote, lambda _level, _text: None)
    except OSError as error:
        return {}, f"a certificate cannot be used: {error}"
    try:
        servers = await judge.probe()
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        try:
            return servers, await judge.judge(request, content, settings.client_deadline)
        except Unjudged as reason:
            return servers, f"not judged: {reason}"
    finally:
        judge.close()


def _ruling_text(ruling: Ruling) -> str:
    lines = [f"queue id {ruling.queue_id or '-'}" + (f", {ruling.info}" if ruling.info else "")]
    for part in ruling.parts:
        words: list[Any] = [", ".join(part.recipients) or "all recipients", part.deed]
        if part.reply is not None:
            words.append(f"{part.reply.code} {part.reply.text}")
        if part.status:
            words.append(f"spam status {part.status}, rate {part.rate}")
        if part.objects:
            words.append(f"objects {', '.join(part.objects)}")
        words += [f"{each.status}: {each.name}" for each in part.threats]
        lines.append(": ".join(str(each) for each in words))
    return "\n".join(lines)
