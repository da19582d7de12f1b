"""`gatepost digests`: recipients hear now, and not at their time, of what is kept for them as spam.

Asks the running gateway. Exit codes: 0 done or under way, 1 the gateway does not run, or there are no such pages.
"""

from typing import Annotated

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, Caller, ConfigFile


def digests(
    *,
    group: Annotated[str, cyclopts.Parameter(help="only recipients of this group")] = "",
    days: Annotated[
        int,
        cyclopts.Parameter(
            help="tell of the last so many days, told of before or not; 0 = of what is new",
            validator=cyclopts.validators.Number(gte=0, lte=3660),
        ),
    ] = 0,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Send the digests of what is kept for recipients now; those on schedule go on from here."""
    answer = Caller(conf_file)("digests.send", group=group, days=days)
    print("under way: the log tells how many" if answer["under_way"] else f"{answer['sent']} sent")
    return 0
