"""`gatepost policy explain FILE|ID` and `policy show GROUP`: what the policy does with a message, and why.

Both work on a configuration file, without a running gateway: `explain` inspects the message with a filter of its own
(`cli.explaining`) and prints every step to the disposition. Exit codes: 0 done, 1 wrong options, 2 the message cannot
be read, 3 it could not be inspected; 65 and 66 as for `gatepost config check`.
"""

import sys
from typing import Annotated

import cyclopts

from gatepost.cli.case_options import ClientAddress, Helo, Network, Recipients, Sender
from gatepost.cli.explaining import case_of, explain_message_of
from gatepost.cli.explanation import render_explanation
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, AsJson, ConfigFile, complain, print_json
from gatepost.config.grouping import Group
from gatepost.config.load import Loaded, load
from gatepost.config.schema import FIELDS, Config

app = cyclopts.App(name="policy", help="What the policy does with a message, and why.")


for _name, _help in (("move", "Put a group in front of another one."), ("delete", "Take a group out.")):
    app.command(f"gatepost.cli.policy_order:{_name}", name=_name, help=_help)


@app.command
def explain(
    message: str,
    /,
    *,
    sender: Sender = None,
    to: Recipients = None,
    client: ClientAddress = "",
    user: Annotated[str, cyclopts.Parameter(help="Who has signed in.")] = "",
    helo: Helo = "",
    network: Network = False,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Say what would be done with a message: direction, groups, objects, verdicts, actions, notifications, stores.

    What is not given is taken from the store, or from the fields of the file: sender and client as the gateway noted
    them when it delivered the message, else the author; our own people among To and Cc; a client nobody knows.

    Parameters
    ----------
    message
        A file with the message (.eml), or the id of a stored one as lists, the log and our fields show it.

    """
    explanation = explain_message_of(message, conf_file, case_of(sender, to, client, helo, user, network=network))
    if isinstance(explanation, int):
        return explanation
    if as_json:
        print_json(explanation)
    else:
        print(render_explanation(explanation), end="")
    return 0


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
