"""Settings of client programs, out of one file: `read_settings`. Used by `client.program` and by set-up.

Three forms are read (specification configuration.md §5.2, §6.1): TOML with the names of `PARAMETERS`, and both
generations of `keyword value` files as they are. One table knows all names. Promises: what is wrong is said with file
and line and how to mend it; a file with an error gives no settings at all.
"""

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.client.remote import RemoteSettings, RemoteTls
from gatepost.config.doors import OnError
from gatepost.config.old_server_file import OldForm, parse_old_address, parse_old_switch, read_old_file
from gatepost.config.parameter import fold
from gatepost.config.problem import Origin, Problem, Severity
from gatepost.config.toml import read_toml
from gatepost.config.units import Unit, parse_size, parse_time

_OF_COMMUNIGATE: Final = ("loop_header", "all_transports")
"""By these an older file is known to be of CommuniGate's module."""
FILE_LIMIT: Final = 1024 * 1024
"""Bytes of a settings file."""
FACILITIES: Final = ("mail", "user", "daemon", *(f"local{number}" for number in range(8)))
LEVELS: Final = ("error", "info", "debug")
"""Detail of the log, each with all before it."""
_OLD_LEVELS: Final = {"0": "error", "1": "error", "2": "info", "3": "info", "4": "debug", "5": "debug"}
"""The numbers of the third generation (specification management.md §7.3)."""
_DOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?\Z")
_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,76}\Z")
_MODE: Final = re.compile(r"[0-7]{3}\Z")


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a client program is told. Fields are the parameters in TOML; times in seconds, sizes in bytes."""

    client_connect_to: tuple[str, ...] = ("tcp:127.0.0.1:2277",)
    client_connect_timeout: float = 10.0
    client_data_timeout: float = 30.0
    client_deadline: float = 100.0
    client_connections: int = 50
    client_sessions: int = 300
    client_tls: bool = False
    client_tls_ca: str = ""
    client_tls_cert: str = ""
    client_tls_key: str = ""
    client_tls_name: str = ""
    client_on_error: OnError = OnError.TEMPFAIL
    client_default_domain: str = ""
    client_filtering_size_limit: int = 500 * 1024
    client_message_store_mem: int = 0
    client_temp_dir: str = ""
    log_facility: str = "mail"
    log_level: str = "info"
    pid_file: str = ""
    send_mail_address: str = "unix:/var/run/gw-milter.socket"
    send_mail_socket_mode: int = 0o660
    pipe_listen: str = "tcp:127.0.0.1:9026"
    pipe_outgoing_addr: str = ""
    pipe_out_data_timeout: float = 60.0
    pipe_multiple_messages_allowed: bool = True
    pipe_use_x_forward: bool = False
    pipe_8bit_hack: bool = False
    pipe_buffered_io: bool = False
    pipe_in_lmtp: bool = False
    pipe_out_lmtp: bool = False
    pipe_before_queue: bool = False
    q_mail_original_queue: str = "/var/qmail/bin/qmail-queue.orig"
    loop_header: str = "X-Gatepost-Filtered"
    loop_key: str = ""
    all_transports: bool = False
    submitted_dir: str = "/var/CommuniGate/Submitted"

    @property
    def remote(self) -> RemoteSettings:
        """How the filtering server is asked."""
        tls = RemoteTls(self.client_tls_ca, self.client_tls_cert, self.client_tls_key, self.client_tls_name)
        return RemoteSettings(
            addresses=self.client_connect_to,
            connect_timeout_s=self.client_connect_timeout,
            data_timeout_s=self.client_data_timeout,
            connections=self.client_connections,
            tls=tls if self.client_tls else None,
        )


class ReadSettings(msgspec.Struct, frozen=True):
    """What a file gives."""

    settings: ClientSettings | None
    """None: there are errors among the problems."""
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What keeps the file from being used."""
        return tuple(each for each in self.problems if each.severity is Severity.ERROR)


class ClientParameter(msgspec.Struct, frozen=True):
    """One parameter: what it is called in each form, and how its values are read."""

    field: str
    """Of `ClientSettings`: the name in TOML."""
    names: tuple[str, ...]
    """Documented names, the third generation's first; () for one of our own."""
    parse: Callable[[str], Any]
    """Of a value as text. ValueError."""
    meaning: str
    old_units: tuple[tuple[str, str], ...] = ()
    """Names whose bare numbers count in another unit than the parameter's."""


def read_settings(path: Path) -> ReadSettings:
    """Read a settings file."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_LIMIT + 1)
    except OSError as error:
        mend = "Name the file with -c; `gatepost client setup` makes one"
        return _failed(path, 0, f"cannot be read: {error.strerror}", mend)
    if len(raw) > FILE_LIMIT:
        return _failed(path, 0, "is no settings file: it has more than a megabyte", "Name the right file with -c")
    return parse_settings(raw.decode("utf-8", "replace"), str(path))


def parse_settings(text: str, file: str) -> ReadSettings:
    """Return what the text of a settings file says. The form is told by the text itself."""
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    try:
        tomllib.loads(text)
        is_toml = True
    except tomllib.TOMLDecodeError:
        is_toml = False
    old = None if is_toml else read_old_file(text, file)
    if old is None:
        document = read_toml(text, file)
        problems += document.problems
        entries = [
            (f"{each.section}.{each.name}" if each.section else each.name, each.value, each.origin)
            for each in document.entries
        ]
    else:
        problems += [_problem(Severity.WARNING, each, "", "is not `keyword value`, and ignored") for each in old.odd]
        entries = [(each.keyword, each.value, each.origin) for each in old.entries]
    for name, value, origin in entries:
        parameter = _BY_NAME.get(fold(name))
        if parameter is None:
            known = ", ".join(_close(name))
            severity = Severity.ERROR if old is None else Severity.WARNING
            mend = f"Did you mean {known}?" if known else "docs/manual/clients.md lists them all"
            problems.append(_problem(severity, origin, name, "is no parameter of client programs", mend=mend))
            continue
        if parameter.field in values and old is None:
            problems.append(_problem(Severity.ERROR, origin, name, "is given twice", mend="Remove one of them"))
            continue
        try:
            values[parameter.field] = _value(parameter, name, value)
        except ValueError as error:
            problems.append(_problem(Severity.ERROR, origin, name, str(error), mend="Correct the value"))
    if any(each.severity is Severity.ERROR for each in problems):
        return ReadSettings(None, tuple(problems))
    if old is not None and old.form is OldForm.CLIENT_20 and not values.keys().isdisjoint(_OF_COMMUNIGATE):
        values.setdefault("client_filtering_size_limit", 0)  # the one module that had no limit unless one was set
    return ReadSettings(ClientSettings(**values), tuple(problems))


def _value(parameter: ClientParameter, name: str, value: object) -> Any:
    if isinstance(value, list):
        if parameter.field != "client_connect_to" or not all(isinstance(each, str) for each in value):
            raise ValueError("takes one value, not a list")
        text = " ".join(value)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, (str, int, float)):
        text = str(value)
    else:
        raise ValueError("takes a text, a number, or true or false")  # noqa: TRY004 - the file is wrong, not a caller
    text = text.strip()
    unit = next((unit for old, unit in parameter.old_units if fold(old) == fold(name)), "")
    return parameter.parse(f"{text} {unit}" if unit and text.isascii() and text.isdigit() else text)


def _close(name: str) -> list[str]:
    import difflib  # noqa: PLC0415 - only for a mistake

    return difflib.get_close_matches(name.lower(), [each.field for each in PARAMETERS], 1)


def _problem(severity: Severity, origin: Origin, name: str, what: str, *, mend: str = "") -> Problem:
    return Problem(severity, origin.file, origin.line, "", name, what, mend=mend)


def _failed(path: Path, line: int, what: str, mend: str) -> ReadSettings:
    return ReadSettings(None, (_problem(Severity.ERROR, Origin(str(path), line), "", what, mend=mend),))


# --- values


def _address(text: str) -> str:
    kind, _, rest = text.partition(":")
    if kind.lower() == "inet":  # as milters write it: inet:port@host
        port, _, host = rest.partition("@")
        text = f"tcp:{host or '127.0.0.1'}:{port}"
    address = parse_old_address(text)
    if address.startswith("tcp:") and not 1 <= int(address.rpartition(":")[2]) <= 65535:
        raise ValueError(f"{text[:80]!r}: a port is 1…65535")
    return address


def _addresses(text: str) -> tuple[str, ...]:
    found = tuple(_address(each) for each in re.split(r"[\s,;]+", text) if each)
    if not found:
        raise ValueError("takes at least one address: tcp:host:port or unix:/path")
    return found


def _time(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = parse_time(text, Unit.SECONDS)
        if not low <= value <= high:
            raise ValueError(f"{text[:40]!r} is not within {low:g}…{high:g} s")
        return value

    return parse


def _size(text: str) -> int:
    value = parse_size(text, Unit.KB)
    if value > 1024**3:
        raise ValueError(f"{text[:40]!r} is more than 1 GiB")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 10_000):
        raise ValueError(f"{text[:40]!r} is not within 1…10000")
    return int(text)


def _on_error(text: str) -> OnError:
    word = text.lower()
    try:
        return OnError.ACCEPT if word == "ignore" else OnError(word)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is none of accept, tempfail, reject") from None


def _one_of(words: Iterable[str], more: dict[str, str] | None = None) -> Callable[[str], str]:
    known = {word: word for word in words}

    def parse(text: str) -> str:
        found = known.get(text.lower()) or (more or {}).get(text)
        if found is None:
            raise ValueError(f"{text[:40]!r} is none of {', '.join(known)}")
        return found

    return parse


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text and pattern.match(text) is None:
            raise ValueError(f"{text[:80]!r} is not {what}")
        return text

    return parse


def _path(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError(f"{text[:80]!r}: a path begins with /")
    return text


def _mode(text: str) -> int:
    if _MODE.match(text) is None:
        raise ValueError(f"{text[:40]!r} is no octal mode like 660")
    return int(text, 8)


def _outgoing(text: str) -> str:
    """Return a socket's address, or a program with its arguments, which begins with /."""
    return text if not text or text.startswith("/") else _address(text)


def _loop_header(text: str) -> str:
    if not text:
        raise ValueError("must not be empty: without it filtered mail would be filtered for ever")
    return _matching(_FIELD_NAME, "the name of a header field")(text)


PARAMETERS: Final = (
    ClientParameter(
        "client_connect_to", ("ClientConnectTo", "SpamtestAddr", "FilterAddr"), _addresses,
        "filtering servers, `tcp:host:port` or `unix:/path`, in the order in which they are asked",
    ),
    ClientParameter(
        "client_connect_timeout", ("ClientConnectTimeout", "ConnectTimeout"), _time(0.1, 600),
        "until a server has greeted", (("ConnectTimeout", "ms"),),
    ),
    ClientParameter(
        "client_data_timeout", ("ClientDataTimeout", "RWTimeout"), _time(0.1, 3600),
        "until a server takes more of a message, or has judged it", (("RWTimeout", "ms"),),
    ),
    ClientParameter("client_deadline", (), _time(1, 3600), "for one message, all servers together"),
    ClientParameter("client_connections", (), _count, "connections to servers at once; further messages wait"),
    ClientParameter(
        "client_sessions", (), _count,
        "connections of the mail system at once, for programs that listen; others wait to be accepted",
    ),
    ClientParameter("client_tls", (), parse_old_switch, "encrypt connections over TCP"),
    ClientParameter("client_tls_ca", (), _path, "PEM file of the authorities of servers; empty = the system's"),
    ClientParameter("client_tls_cert", (), _path, "PEM file of the certificate shown to servers"),
    ClientParameter("client_tls_key", (), _path, "PEM file of its key; empty = in the same file"),
    ClientParameter(
        "client_tls_name", (), _matching(_DOMAIN, "a host name"),
        "name in servers' certificates; empty = the host of their address",
    ),
    ClientParameter(
        "client_on_error", ("ClientOnError", "OnError"), _on_error,
        "what becomes of mail that cannot be judged: accept, tempfail, reject",
    ),
    ClientParameter(
        "client_default_domain", ("ClientDefaultDomain", "DefaultDomain"), _matching(_DOMAIN, "a domain"),
        "goes behind addresses that have no domain",
    ),
    ClientParameter(
        "client_filtering_size_limit", ("ClientFilteringSizeLimit", "FilteringSizeLimit"), _size,
        "larger messages pass unfiltered; 0 = none do; bare numbers are KB",
    ),
    ClientParameter(
        "client_message_store_mem", ("ClientMessageStoreMem", "MessageStoreMem"), _size,
        "larger messages wait in a temporary file; 0 = all in memory; bare numbers are KB",
    ),
    ClientParameter(
        "client_temp_dir", ("ClientTempDir", "TempDir"), _path, "where, which must be there; empty = the system's"
    ),
    ClientParameter("log_facility", ("LogFacility",), _one_of(FACILITIES), "of syslog"),
    ClientParameter(
        "log_level", ("LogLevel",), _one_of(LEVELS, _OLD_LEVELS), "error, info, debug; or 0…5 as the third generation"
    ),
    ClientParameter("pid_file", ("PidFile",), _path, "where a program that stays writes its process number"),
    ClientParameter("send_mail_address", ("SendMailAddress", "ClientAddr"), _address, "milter: where the MTA connects"),
    ClientParameter("send_mail_socket_mode", (), _mode, "milter: permissions of a local socket, octal"),
    ClientParameter("pipe_listen", ("PipeListen",), _address, "pipe: where the MTA connects"),
    ClientParameter(
        "pipe_outgoing_addr", ("PipeOutgoingAddr",), _outgoing,
        "pipe: where filtered mail goes: an address, or a program with its arguments",
    ),
    ClientParameter("pipe_out_data_timeout", ("PipeOutDataTimeout",), _time(1, 3600), "pipe: wait for that"),
    ClientParameter(
        "pipe_multiple_messages_allowed", ("PipeMultipleMessagesAllowed",), parse_old_switch,
        "pipe: a copy for each differing verdict",
    ),
    ClientParameter(
        "pipe_use_x_forward", ("PipeUseXForward",), parse_old_switch, "pipe: the client's address comes by XFORWARD"
    ),
    ClientParameter(
        "pipe_8bit_hack", ("Pipe8BitHack",), parse_old_switch, "pipe: 8-bit mail goes to a hop without 8BITMIME"
    ),
    ClientParameter("pipe_buffered_io", ("PipeBufferedIO",), parse_old_switch, "pipe: read for compatibility only"),
    ClientParameter("pipe_in_lmtp", ("InProtocolLMTP",), parse_old_switch, "pipe: the MTA speaks LMTP"),
    ClientParameter("pipe_out_lmtp", ("OutProtocolLMTP",), parse_old_switch, "pipe: LMTP is spoken to where mail goes"),
    ClientParameter(
        "pipe_before_queue", (), parse_old_switch, "pipe: the sender is still connected, so a rejection is a reply"
    ),
    ClientParameter(
        "q_mail_original_queue", ("QMailOriginalQueue", "OriginalQueue"), _path, "qmail: the renamed original program"
    ),
    ClientParameter("loop_header", ("LoopHeader",), _loop_header, "CommuniGate: field that marks filtered mail"),
    ClientParameter("loop_key", (), _path, "CommuniGate: file with the secret that makes the mark unforgeable"),
    ClientParameter("all_transports", ("AllTransports",), parse_old_switch, "CommuniGate: not only mail over SMTP"),
    ClientParameter("submitted_dir", (), _path, "CommuniGate: where filtered mail is handed in"),
)  # fmt: skip
"""All parameters of client programs, in the order of the manual."""

_BY_NAME: Final = {fold(name): each for each in PARAMETERS for name in (each.field, *each.names)}
