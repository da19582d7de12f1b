"""A message, inspected and explained by a configuration: what `policy explain`, `spam explain` and
`rescan` have in common.

Exit codes: 1 wrong options, 2 the message cannot be read, 3 it could not be inspected; 65 and 66 as for `config check`.
"""

import ipaddress
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from gatepost.cli.explanation import Explanation, explain_message
from gatepost.cli.gateway import EXIT_BAD_OPTIONS, complain
from gatepost.cli.rules_trial import render_share, try_rules
from gatepost.cli.store_choice import Failed
from gatepost.cli.told_message import STRANGER, ToldMessage, read_message
from gatepost.cli.trial import Setting, TrialError, inspect_alone
from gatepost.config.load import load
from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.feeds.bases import BasesError
from gatepost.feeds.keys import BadKey
from gatepost.filter.pool import FilterFailed, FilterUnavailable
from gatepost.licence.key import LicenceError
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import NetworkFacts
from gatepost.notices.grammar import TemplateError
from gatepost.policy.decide import error_analysis
from gatepost.policy.group import GroupTable, scan_options
from gatepost.policy.profile_table import RuleTable
from gatepost.relay.direction import resolve_direction, trusted_networks
from gatepost.relay.listings import read_listings
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, State, Stored

EXIT_NOT_INSPECTED: Final = 3
TROUBLES: Final = (TrialError, FilterUnavailable, BasesError, BadKey, LicenceError, TemplateError, OSError)
"""Why an inspection could not be made."""


class Case(msgspec.Struct, frozen=True):
    """How the message comes."""

    sender: str | None
    """Envelope sender; None: as the message tells (`cli.told_message`), and so it is with what is empty below."""
    to: tuple[str, ...]
    """Envelope recipients."""
    client: str = ""
    helo: str = ""
    user: str = ""
    network: bool = False
    """The network checks are asked, too."""
    facts: NetworkFacts | None = None
    """What they found when it came, where that is known and they are not asked anew."""


def case_of(sender: str | None, to: list[str] | None, client: str, helo: str, user: str = "", *, network: bool) -> Case:
    """Return the case that the options of a command describe."""
    return Case(None if sender is None else sender.strip("<>"), tuple(to or ()), client, helo, user, network)


def explain_message_of(text: str, conf_file: Path, case: Case) -> Explanation | int:
    """Return what becomes of the message in a file, or of a stored one by its id. It is an exit code when it has been
    said why that cannot be told.
    """
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    try:
        ipaddress.ip_address(case.client or STRANGER)
    except ValueError:
        return complain(f"{case.client!r} is no IP address", EXIT_BAD_OPTIONS)
    try:
        message = read_message(text, loaded.config, conf_file)
    except Failed as failed:
        return failed.say()
    try:
        return explain_told(loaded.config, case, message)
    except TROUBLES as error:
        return complain(f"the message could not be inspected: {error}", EXIT_NOT_INSPECTED)


def explain_told(config: Config, case: Case, message: ToldMessage) -> Explanation:
    """Return what becomes of a message. One of `TROUBLES`: it could not be inspected."""
    content = message.content
    envelope = _envelope_of(config, case, message.envelope)
    rules = RuleTable(config.rule_set) if config.profiles.enabled else None
    table = GroupTable.from_config(
        config.groups,
        config.ave,
        config.filter.filter_deadline,
        config.network.protected_domains,
        config.antispam,
        rules.fields if rules is not None else None,
    )
    recipients = [recipient.address for recipient in envelope.recipients]
    partition = table.partition(envelope.sender, recipients, envelope.direction)
    options = scan_options([group for group, _ in partition])
    analysis: Analysis | None = None
    stored = Stored(1, 1, State.WAITING, time.time(), envelope, ContentRef(1, len(content), False), b"")
    if options is not None:
        try:
            analysis = inspect_alone(config, content, options, Setting(stored, partition, case.network))
        except FilterFailed as error:
            analysis = error_analysis(str(error))
        if case.facts is not None and not case.network:
            analysis = msgspec.structs.replace(analysis, network=case.facts)
    listings = read_listings(config.relay.state_path, lambda _, text: print(text, file=sys.stderr))
    shares = listings.share(partition, envelope, analysis, time.time())
    explanation = explain_message(config, envelope, shares, analysis, content)
    if rules is None:
        return explanation
    tried = try_rules(config, rules, Work(stored, content), shares, analysis)
    return msgspec.structs.replace(
        explanation, rules=tuple(line.strip() for share in tried for line in render_share(share))
    )


def _envelope_of(config: Config, case: Case, told: Envelope) -> Envelope:
    """Return the message's envelope with what the caller says in place of what it tells."""
    recipients = tuple(Recipient(address.strip("<>")) for address in case.to) or told.recipients
    client = told.client if not case.client else Client(case.client)
    client = msgspec.structs.replace(client, helo=case.helo or client.helo, user=case.user or client.user)
    direction = resolve_direction(
        ours=bool(client.user) or trusted_networks(config).contains(client.ip),
        protected=MaskSet(f"*@{domain}" for domain in config.network.protected_domains),
        recipients=recipients,
    )
    sender = case.sender if case.sender is not None else told.sender
    return Envelope(sender, recipients, client, direction=direction)
