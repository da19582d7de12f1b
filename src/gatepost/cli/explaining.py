"""A message file, inspected and explained by a configuration: what `policy explain` and `spam explain` have in common.

Exit codes: 1 wrong options, 2 the message cannot be read, 3 it could not be inspected; 65 and 66 as for `config check`.
"""

import ipaddress
import time
from pathlib import Path
from typing import Final

import msgspec

from gatepost.cli.explanation import Explanation, explain_message
from gatepost.cli.gateway import EXIT_BAD_OPTIONS, complain
from gatepost.cli.trial import Setting, TrialError, inspect_alone
from gatepost.config.load import load
from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.feeds.bases import BasesError
from gatepost.feeds.keys import BadKey
from gatepost.filter.pool import FilterFailed, FilterUnavailable
from gatepost.licence.term import LicenceError
from gatepost.mime.words import decode_header
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.notices.grammar import TemplateError
from gatepost.notices.original import header_of
from gatepost.policy.decide import error_analysis
from gatepost.policy.group import GroupTable, scan_options
from gatepost.relay.direction import resolve_direction, trusted_networks
from gatepost.spool.interface import ContentRef, State, Stored

EXIT_UNREADABLE_MESSAGE: Final = 2
EXIT_NOT_INSPECTED: Final = 3
STRANGER: Final = "192.0.2.1"
"""Client of a message when none is named: an address of nobody (RFC 5737)."""


class Case(msgspec.Struct, frozen=True):
    """How the message comes."""

    sender: str | None
    """Envelope sender; None: as the header has it."""
    to: tuple[str, ...]
    """Envelope recipients; (): the postmaster."""
    client: str = STRANGER
    helo: str = ""
    user: str = ""
    network: bool = False
    """The network checks are asked, too."""


def explain_file(file: Path, conf_file: Path, case: Case) -> Explanation | int:
    """Return what becomes of a message in a file, or an exit code when it has been said why that cannot be told."""
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    try:
        ipaddress.ip_address(case.client)
    except ValueError:
        return complain(f"{case.client!r} is no IP address", EXIT_BAD_OPTIONS)
    try:
        content = file.read_bytes()
    except OSError as error:
        return complain(f"{file}: {error.strerror}", EXIT_UNREADABLE_MESSAGE)
    try:
        return _explain(loaded.config, case, content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    except (TrialError, FilterUnavailable, BasesError, BadKey, LicenceError, TemplateError, OSError) as error:
        return complain(f"the message could not be inspected: {error}", EXIT_NOT_INSPECTED)


def _explain(config: Config, case: Case, content: bytes) -> Explanation:
    protected = MaskSet(f"*@{domain}" for domain in config.network.protected_domains)
    recipients = tuple(Recipient(address.strip("<>")) for address in case.to or (config.network.postmaster,))
    client = Client(case.client, helo=case.helo, user=case.user)
    direction = resolve_direction(
        ours=bool(client.user) or trusted_networks(config).contains(client.ip),
        protected=protected,
        recipients=recipients,
    )
    sender = case.sender if case.sender is not None else _sender_of(content)
    envelope = Envelope(sender, recipients, client, direction=direction)
    table = GroupTable.from_config(
        config.groups, config.ave, config.filter.filter_deadline, config.network.protected_domains, config.antispam
    )
    partition = table.partition(sender, [recipient.address for recipient in recipients], direction)
    options = scan_options([group for group, _ in partition])
    analysis: Analysis | None = None
    if options is not None:
        stored = Stored(1, 1, State.WAITING, time.time(), envelope, ContentRef(1, len(content), False), b"")
        try:
            analysis = inspect_alone(config, content, options, Setting(stored, partition, case.network))
        except FilterFailed as error:
            analysis = error_analysis(str(error))
    return explain_message(config, envelope, partition, analysis, content)


def _sender_of(content: bytes) -> str:
    """Return the envelope sender that a delivered message tells (RFC 5321 §4.4), else its author's address."""
    lines = header_of(content).splitlines()
    for name in (b"return-path:", b"from:"):
        for line in lines:
            if line.lower().startswith(name):
                value = decode_header(line[len(name) :])
                return value.rpartition("<")[2].partition(">")[0].strip() if "<" in value else value.strip()
    return ""
