"""One message by itself, as pipe transports hand it over: read, judged, delivered, and an exit status for the answer.

Used by `client.pipe`. Exit statuses are those of sysexits.h that mail systems know: 0 delivered (or discarded by
verdict), 69 refused for good, 75 try again; what was said stands on standard output, beginning with the enhanced status
code, for the mail system's report.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import msgspec

from gatepost.model.envelope import Body, Client, Recipient
from gatepost.model.reply import Reply, reply
from gatepost.service.judge import Context
from gatepost.service.proxy_memory import DeliveredMemory
from gatepost.service.proxy_onward import Mail, Means, Onward
from gatepost.service.proxy_plan import join_fates
from gatepost.service.proxy_settlement import Settlement, complete_address
from gatepost.smtp.server_events import ClientForwarded, MailFrom

UNREADY: Final = reply(451, "4.3.5", "The message cannot be filtered: the log of the client says why")
"""What is said of a message that nothing was done with."""
READ_BYTES: Final = 64 * 1024
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_EIGHT_BIT: Final = re.compile(rb"[\x80-\xff]")


class MessageOptions(msgspec.Struct, frozen=True):
    """What the mail system tells of a message on the command line."""

    recipients: tuple[str, ...]
    sender: str = ""
    client_ip: str = ""
    client_name: str = ""
    helo: str = ""
    queue_id: str = ""


_VALUES: Final = {
    "-f": "sender",
    "--client-ip": "client_ip",
    "--client-name": "client_name",
    "--helo": "helo",
    "--queue-id": "queue_id",
}


_ENVIRONMENT: Final = {
    "SENDER": "sender",
    "CLIENT_ADDRESS": "client_ip",
    "CLIENT_HOSTNAME": "client_name",
    "CLIENT_HELO": "helo",
    "MESSAGE_ID": "queue_id",
}
"""As Exim and Postfix name them; Exim lets nothing that a stranger said stand in a command line."""


def parse_options(arguments: Sequence[str], environment: Mapping[str, str]) -> MessageOptions:
    """Return what the arguments behind `--message` say, and with `--environment` the environment. ValueError."""
    rest = list(arguments)
    told: dict[str, str] = {}
    if rest[:1] == ["--environment"]:
        del rest[0]
        told = {field: environment[name] for name, field in _ENVIRONMENT.items() if name in environment}
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        name = _VALUES.get(option)
        if name is None:
            raise ValueError(f"{option} is no option of --message")
        if not rest:
            raise ValueError(f"{option}: a value is missing behind it")
        told[name] = rest.pop(0)
    if not rest:
        raise ValueError("no recipients behind --")
    told["sender"] = told.get("sender", "").removeprefix("<").removesuffix(">")
    return MessageOptions(recipients=tuple(dict.fromkeys(rest)), **told)


async def run_message(context: Context, means: Means, options: MessageOptions, stream: BinaryIO) -> int:
    """Settle the message that comes on `stream`; return the exit status. OSError: it cannot be read or kept."""
    door = context.door

    def report(level: str, text: str) -> None:
        context.report(level, f"door {door.name}: {text}")

    onward = Onward(means, DeliveredMemory(context.delivered, f"{door.name} {door.next_hop}"), report)
    gathered = means.gather()
    try:
        eight_bit = False
        for piece in _read_mail(stream):
            eight_bit = eight_bit or (not piece.isascii() and _EIGHT_BIT.search(piece) is not None)
            gathered.add(piece)
        sender = complete_address(options.sender, door)
        facts = ClientForwarded(
            name=options.client_name or None,
            address=options.client_ip or None,
            helo=options.helo or None,
            ident=options.queue_id or None,
        )
        body = Body.EIGHT_BIT if eight_bit else Body.SEVEN_BIT
        begun = MailFrom(sender, gathered.size, body, None, "", dsn=False)
        recipients = [Recipient(complete_address(each, door)) for each in options.recipients]
        mail = Mail(begun, sender, facts, recipients)
        client = Client(options.client_ip, 0, options.helo, True, door.name, options.client_name)
        fates = await Settlement(context, onward).settle(mail, gathered, client, plain=False, waits=lambda: True)
    finally:
        gathered.close()
        onward.close()
    return tell(join_fates(fates))


def tell(answer: Reply) -> int:
    """Say an answer that is no success on standard output; return the exit status that goes with it."""
    if answer.positive:
        return 0
    sys.stdout.write(f"{answer.enhanced} {answer.text}\n".lstrip())
    return os.EX_UNAVAILABLE if answer.permanent else os.EX_TEMPFAIL


def _read_mail(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the message with CRLF line ends, without the mbox line that some transports put in front."""
    read: Callable[[int], bytes] = stream.read
    piece = read(READ_BYTES)
    if piece.startswith(b"From "):
        piece = piece.partition(b"\n")[2]
    last = b""
    while piece:
        first = piece[:1]
        if last == b"\r" and first == b"\n":
            yield b"\n"
            piece = piece[1:]
        yield _BARE_LINE_FEED.sub(b"\r\n", piece)
        last = piece[-1:] or b"\n"
        piece = read(READ_BYTES)
    if last not in {b"", b"\n"}:
        yield b"\n" if last == b"\r" else b"\r\n"
