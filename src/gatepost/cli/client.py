"""`gatepost client`: the programs that stand at other mail systems, and their set-up. docs/manual/clients.md tells how.

Exit codes of `test`, `setup`, `undo` and `status`: 0 done; 1 wrong options, or the question was answered with no; 2 a
file cannot be read or written; 4 not done, the reason is told. The programs have those of what they stand in for.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from gatepost.cli.gateway import AsJson, complain, print_json
from gatepost.client.program import DEFAULT_FILE, run_program
from gatepost.client.settings import ClientSettings, read_settings
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
DEFAULT = Path(DEFAULT_FILE)
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
        return {}, f"the certificates cannot be used: {error}"
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
