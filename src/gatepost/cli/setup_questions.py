"""The questions of `gatepost setup`, in the order they are asked.

Used by `cli.setup_answers` and `cli.setup`. A new question is a field of `Answers` and a row here; what it changes
stands in `cli.setup_plan`, what it has done in `cli.setup_steps`.
"""

import enum
from collections.abc import Callable
from typing import Any

import msgspec

from gatepost.cli.setup_checks import (
    Texts,
    parse_account,
    parse_doors,
    parse_elements,
    parse_file,
    parse_forward,
    parse_hostname,
    parse_password,
    parse_proxy,
    parse_servers,
    parse_source,
    value_of,
    values_of,
    word_of,
)
from gatepost.config.doors import DoorKind
from gatepost.config.licensing import LicenceMode
from gatepost.config.values import parse_flag
from gatepost.control.accounts import PASSWORD_LEAST

NOTHING = "-"
"""Typed in the dialogue: no value, where there is a default."""


class Role(enum.StrEnum):
    """What the gateway is to the mail of this site."""

    RELAY = "relay"
    """Mail comes in by SMTP and goes on."""
    SERVER = "server"
    """Mail systems that stay where they are ask it, at its doors."""


class Start(enum.StrEnum):
    """What `setup` does at its end."""

    AUTO = "auto"
    """The service where systemd runs and knows it; otherwise the command is named."""
    SERVICE = "service"
    DAEMON = "daemon"
    """`gatepost start`."""
    NO = "no"


MILTER_DOOR = "milter tcp:127.0.0.1:7357"
"""For the mail system of this host."""
BY_ROLE: dict[Role, dict[str, Any]] = {
    Role.RELAY: {"listen": ("0.0.0.0:25",), "doors": (), "forward_host": "[127.0.0.1:1025]"},
    Role.SERVER: {"listen": (), "doors": (MILTER_DOOR,), "forward_host": "[127.0.0.1:25]"},
}
"""Defaults that go with what the gateway is."""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """All answers; names are those of the answer file."""

    hostname: str = ""
    role: Role = Role.RELAY
    protected_domains: Texts = ()
    postmaster: str = ""
    listen: Texts = ("0.0.0.0:25",)
    local_networks: Texts = ("127.0.0.0/8", "::1/128")
    doors: Texts = ()
    forward_host: str = ""
    proxy: str = ""
    licence_mode: LicenceMode = LicenceMode.OPEN
    licence_issuers: Texts = ()
    licence_key: str = ""
    update_source: str = ""
    trust_root: str = ""
    trusted_keys: Texts = ()
    uds_consent: bool = False
    uds_servers: Texts = ()
    console: bool = True
    console_listen: Texts = ("127.0.0.1:8025",)
    console_account: str = ""
    console_password: str = ""
    start: Start = Start.AUTO


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    name: str
    """Field of `Answers`."""
    title: str
    words: str
    """What it is about, and what happens for want of an answer."""
    parse: Callable[[object], Any]
    when: Callable[[Answers], bool] = lambda _: True
    asked: bool = True
    """False: in the file only."""
    secret: bool = False


def _relays(answers: Answers) -> bool:
    return answers.role is Role.RELAY


QUESTIONS: tuple[Question, ...] = (
    Question(
        name="hostname",
        title="Host name",
        words="The name of this host in DNS. It greets other mail systems and stands in the fields of mail.",
        parse=parse_hostname,
    ),
    Question(
        name="role",
        title="Relay or server",
        words=(
            "relay: mail comes here by SMTP, is filtered, and goes on to your mail system. "
            "server: your mail system stays in front and asks here what to do with a mail."
        ),
        parse=word_of(Role),
    ),
    Question(
        name="protected_domains",
        title="Own domains",
        words=(
            "Domains whose mail is yours: strangers may send to them, and their recipients are protected. "
            "Masks such as *.example.org are allowed."
        ),
        parse=values_of("network", "protected_domains", needed=True),
    ),
    Question(
        name="postmaster",
        title="Postmaster",
        words="Where mail for the postmaster goes, and what the gateway has to tell its administrator.",
        parse=value_of("network", "postmaster", needed=True),
    ),
    Question(
        name="listen",
        title="Endpoints",
        words="Where mail comes in: address:port, 0.0.0.0 is every address, [::]:25 all of IPv6.",
        parse=values_of("network", "listen_on", needed=True),
        when=_relays,
    ),
    Question(
        name="local_networks",
        title="Local networks",
        words="Your own machines: they may send to everybody through this gateway. Never a network that strangers use.",
        parse=values_of("network.zone", "addresses"),
    ),
    Question(
        name="doors",
        title="Doors",
        words=(
            "Where mail systems ask: kind and address, such as milter tcp:127.0.0.1:7357 for Postfix and Sendmail. "
            f"Kinds are {', '.join(DoorKind)}; several doors are separated by commas."
        ),
        parse=parse_doors,
        when=lambda answers: answers.role is Role.SERVER,
    ),
    Question(
        name="forward_host",
        title="Forward to",
        words=(
            "Where filtered mail, and a server's own notices, go on to: [host:port] of your mail system, or a domain "
            f"whose MX is asked. {NOTHING} = the MX of each recipient."
        ),
        parse=parse_forward,
    ),
    Question(
        name="proxy",
        title="Proxy",
        words=f"The HTTP proxy for updates: http://host:port, or http://user:password@host:port. {NOTHING} = none.",
        parse=parse_proxy,
    ),
    Question(
        name="licence_mode",
        title="Licence mode",
        words="open: the unlimited key that the program comes with. key: nothing starts without a key of one's own.",
        parse=word_of(LicenceMode),
        asked=False,
    ),
    Question(
        name="licence_issuers",
        title="Licence issuers",
        words="Public keys of issuers that are believed besides the program's own.",
        parse=lambda raw: tuple(parse_elements(raw)),
        asked=False,
    ),
    Question(
        name="licence_key",
        title="Licence key",
        words=f"File of a licence key, if you were given one. {NOTHING} = the key that the program comes with counts.",
        parse=parse_file,
    ),
    Question(
        name="update_source",
        title="Updates from",
        words=(
            "Where newer databases come from: http://…, https://…, ftp://…, or a directory. They are fetched at once. "
            f"{NOTHING} = later; the databases that the program comes with are in force."
        ),
        parse=parse_source,
    ),
    Question(
        name="trust_root",
        title="Trust root",
        words="The file root.json of that source, by which its signatures are believed. Get it by a way you trust.",
        parse=parse_file,
        when=lambda answers: bool(answers.update_source),
    ),
    Question(
        name="trusted_keys",
        title="Trusted keys",
        words="Public keys whose databases are used besides the product's own: for a feed of one's own.",
        parse=lambda raw: tuple(parse_elements(raw)),
        asked=False,
    ),
    Question(
        name="uds_consent",
        title="Urgent detection",
        words=(
            "May fingerprints of mail be sent to servers of the urgent detection service, which know fresh spam? "
            "They are numbers, nothing of a mail can be read out of them. no: nothing is ever sent."
        ),
        parse=parse_flag,
    ),
    Question(
        name="uds_servers",
        title="Its servers",
        words="host:port of each. There is no default one: without a server nobody is asked.",
        parse=parse_servers,
        when=lambda answers: answers.uds_consent,
    ),
    Question(
        name="console",
        title="Console",
        words="Is there to be a web console?",
        parse=parse_flag,
    ),
    Question(
        name="console_listen",
        title="Console at",
        words="Where browsers reach it. For other machines than this one it needs a certificate (manual: console).",
        parse=values_of("console", "listen", needed=True),
        when=lambda answers: answers.console,
    ),
    Question(
        name="console_account",
        title="Administrator",
        words=f"Who signs in to the console first. {NOTHING} = nobody; `gatepost account first-code` shows a way in.",
        parse=parse_account,
        when=lambda answers: answers.console,
    ),
    Question(
        name="console_password",
        title="Password",
        words=f"Of this account; at least {PASSWORD_LEAST} characters.",
        parse=parse_password,
        when=lambda answers: answers.console and bool(answers.console_account),
        secret=True,
    ),
    Question(
        name="start",
        title="Start",
        words=(
            "auto: as a service where systemd runs, otherwise the command is named. "
            "Or service, daemon (gatepost start), no."
        ),
        parse=word_of(Start),
    ),
)
