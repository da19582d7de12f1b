"""`gatepost policy explain FILE` and `gatepost policy show GROUP`: what the policy does with a message, and why.

Both work on a configuration file, without a running gateway: `explain` inspects the message with a filter of its own
(`cli.trial`) and prints every step to the disposition. Exit codes: 0 done, 1 wrong options, 2 the message cannot be
read, 3 it could not be inspected; 65 and 66 as for `gatepost config check`.
"""

import ipaddress
import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.explanation import Explanation, explain_message, render_explanation
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, AsJson, ConfigFile, complain, print_json
from gatepost.cli.trial import TrialError, inspect_alone
from gatepost.config.grouping import Group
from gatepost.config.load import Loaded, load
from gatepost.config.masks import MaskSet
from gatepost.config.schema import FIELDS, Config
from gatepost.feeds.bases import BasesError
from gatepost.feeds.keys import BadKey
from gatepost.filter.pool import FilterFailed, FilterUnavailable
from gatepost.licence.term import LicenceError
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.notices.grammar import TemplateError
from gatepost.policy.decide import error_analysis
from gatepost.policy.group import GroupTable, scan_options
from gatepost.relay.direction import resolve_direction, trusted_networks

EXIT_UNREADABLE_MESSAGE = 2
EXIT_NOT_INSPECTED = 3
STRANGER = "192.0.2.1"
"""Client of a message when none is named: an address of nobody (RFC 5737)."""

app = cyclopts.App(name="policy", help="What the policy does with a message, and why.")


@app.command
def explain(
    file: Path,
    /,
    *,
    sender: Annotated[str, cyclopts.Parameter(name="--from", help='Envelope sender, "" or <> for the null sender.')],
    to: Annotated[list[str], cyclopts.Parameter(name="--to", negative="", help="Recipient; may be repeated.")],
    client: Annotated[str, cyclopts.Parameter(help="Address of the client that hands it over.")] = STRANGER,
    user: Annotated[str, cyclopts.Parameter(help="Who has signed in.")] = "",
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Say what would be done with a message: direction, groups, objects, verdicts, actions, notifications, stores.

    Parameters
    ----------
    file
        The message as it comes over SMTP (.eml); lone line feeds are taken for line ends.

    """
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    try:
        ipaddress.ip_address(client)
    except ValueError:
        return complain(f"{client!r} is no IP address", EXIT_BAD_OPTIONS)
    try:
        content = file.read_bytes()
    except OSError as error:
        return complain(f"{file}: {error.strerror}", EXIT_UNREADABLE_MESSAGE)
    try:
        explanation = _explain(loaded.config, sender.strip("<>"), to, client, user, _with_crlf(content))
    except (TrialError, FilterUnavailable, BasesError, BadKey, LicenceError, TemplateError, OSError) as error:
        return complain(f"the message could not be inspected: {error}", EXIT_NOT_INSPECTED)
    if as_json:
        print_json(explanation)
    else:
        print(render_explanation(explanation), end="")
    return 0


def _with_crlf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _explain(config: Config, sender: str, to: list[str], client: str, user: str, content: bytes) -> Explanation:
    protected = MaskSet(f"*@{domain}" for domain in config.network.protected_domains)
    recipients = tuple(Recipient(address.strip("<>")) for address in to)
    direction = resolve_direction(
        ours=bool(user) or trusted_networks(config).contains(client), protected=protected, recipients=recipients
    )
    envelope = Envelope(sender, recipients, Client(client, helo="", user=user), direction=direction)
    table = GroupTable.from_config(
        config.groups, config.ave, config.filter.filter_deadline, config.network.protected_domains, config.antispam
    )
    partition = table.partition(sender, [recipient.address for recipient in recipients], direction)
    options = scan_options([group for group, _ in partition])
    analysis: Analysis | None = None
    if options is not None:
        try:
            analysis = inspect_alone(config, content, options)
        except FilterFailed as error:
            analysis = error_analysis(str(error))
    return explain_message(config, envelope, partition, analysis, content)


@app.command
def show(group: str = "policy", /, *, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> int:
    """Print every value in force for a group, and where it comes from.

    Parameters
    ----------
    group
        Name of the group; `policy` is the last one, for everybody else.

    """
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    found = next((each for each in loaded.config.groups if each.name == group), None)
    if found is None:
        names = ", ".join(each.name for each in loaded.config.groups)
        return complain(f"there is no group {group!r}; there are: {names}", EXIT_BAD_OPTIONS)
    rows = _describe_group(loaded, loaded.config, found)
    if as_json:
        print_json({"group": found, "origins": {name: origin for name, _, origin in rows}})
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, value, origin in rows:
        sys.stdout.write(f"{name:<{width}}  {value}  ({origin})\n")
    return 0


def _describe_group(loaded: Loaded, config: Config, group: Group) -> list[tuple[str, str, str]]:
    """Return (parameter, value, where it comes from) of a group's parameters, in their order."""
    index = config.groups.index(group)
    rows = []
    for field in FIELDS["group"]:
        own = loaded.origins.get(f"group[{index}].{field.name}") if group is not config.groups[-1] else None
        inherited = loaded.origins.get(f"policy.{field.name}")
        origin = str(own) if own else f"policy: {inherited}" if inherited else "default"
        value = field.parameter.describe_value(getattr(group, field.name))
        rows.append((field.name, value or "none", origin))
    return rows
