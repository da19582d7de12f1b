"""`gatepost spam explain FILE|ID`: how a message is rated, sign by sign, and what each group concerned does about it.

Works on a configuration file, without a running gateway: a filter of its own looks at the message, behind the same
walls. Exit codes: those of `gatepost.cli.explaining`.
"""

from collections.abc import Iterator

from gatepost.cli.case_options import ClientAddress, Helo, Network, Recipients, Sender
from gatepost.cli.explaining import case_of, explain_message_of
from gatepost.cli.explanation import Explanation
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, print_json
from gatepost.cli.spam_explanation import TEXT_LIMIT, spam_lines
from gatepost.notices.text import clean_text


def explain(
    message: str,
    /,
    *,
    sender: Sender = None,
    to: Recipients = None,
    client: ClientAddress = "",
    helo: Helo = "",
    network: Network = False,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Say how a message is rated, sign by sign, and what each group does about it.

    What is not given is taken from the store, or from the fields of the file: sender and client as the gateway noted
    them when it delivered the message, else the author; our own people among To and Cc; a client nobody knows.

    Parameters
    ----------
    message
        A file with the message (.eml), or the id of a stored one as lists, the log and our fields show it.

    """
    explanation = explain_message_of(message, conf_file, case_of(sender, to, client, helo, network=network))
    if isinstance(explanation, int):
        return explanation
    if as_json:
        print_json(
            {
                "direction": explanation.direction,
                "sender": explanation.sender,
                "client": explanation.client,
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
    yield f"Sender: <{explanation.sender}>, client [{explanation.client}], {explanation.direction}"
    yield from (f"Network: {line}" for line in explanation.network)
    if explanation.trouble:
        yield f"Content checks that could not see all of it: {explanation.trouble}"
    for group in explanation.groups:
        yield f"Group {group.name}: {', '.join(f'<{each}>' for each in group.recipients)}"
        if group.spam is None:
            yield "  nothing is done about spam"
        else:
            yield from spam_lines(group.spam)
