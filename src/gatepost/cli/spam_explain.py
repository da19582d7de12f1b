"""`gatepost spam explain FILE`: how a message is rated, sign by sign, and what each group concerned does about it.

Works on a configuration file, without a running gateway: a filter of its own looks at the message, behind the same
walls. Exit codes: those of `gatepost.cli.explaining`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.explaining import STRANGER, Case, explain_file
from gatepost.cli.explanation import Explanation
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, print_json
from gatepost.cli.spam_explanation import TEXT_LIMIT, spam_lines
from gatepost.notices.text import clean_text


def explain(
    file: Path,
    /,
    *,
    sender: Annotated[
        str | None, cyclopts.Parameter(name="--from", help='Envelope sender, "" or <> for the null sender.')
    ] = None,
    to: Annotated[list[str] | None, cyclopts.Parameter(name="--to", negative="", help="Recipient; several.")] = None,
    client_ip: Annotated[str, cyclopts.Parameter(help="Address of the client that hands it over.")] = STRANGER,
    helo: Annotated[str, cyclopts.Parameter(help="Name that client gives.")] = "",
    network: Annotated[bool, cyclopts.Parameter(negative="", help="Ask the network checks, too.")] = False,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Say how a message is rated, sign by sign, and what each group does about it.

    Without --from the sender is the one its header tells; without --to it goes to the postmaster.

    Parameters
    ----------
    file
        The message as it comes over SMTP (.eml); lone line feeds are taken for line ends.

    """
    case = Case(None if sender is None else sender.strip("<>"), tuple(to or ()), client_ip, helo, network=network)
    explanation = explain_file(file, conf_file, case)
    if isinstance(explanation, int):
        return explanation
    if as_json:
        print_json(
            {
                "direction": explanation.direction,
                "sender": explanation.sender,
                "network": explanation.network,
                "trouble": explanation.trouble,
                "groups": [{"name": each.name, "spam": each.spam} for each in explanation.groups],
            }
        )
    else:
        for line in _lines(explanation):
            print(clean_text(line, 10 * TEXT_LIMIT))
    return 0


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"Sender: <{explanation.sender}>, {explanation.direction}"
    yield from (f"Network: {line}" for line in explanation.network)
    if explanation.trouble:
        yield f"Content checks that could not see all of it: {explanation.trouble}"
    for group in explanation.groups:
        yield f"Group {group.name}: {', '.join(f'<{each}>' for each in group.recipients)}"
        if group.spam is None:
            yield "  nothing is done about spam"
        else:
            yield from spam_lines(group.spam)
