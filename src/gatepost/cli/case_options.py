"""Options that say how a message comes: of `policy explain`, `spam explain` and `rules test`."""

from typing import Annotated

import cyclopts

Sender = Annotated[str | None, cyclopts.Parameter(name="--from", help='Envelope sender, "" or <> for the null sender.')]
Recipients = Annotated[list[str] | None, cyclopts.Parameter(name="--to", negative="", help="Recipient; several.")]
ClientAddress = Annotated[
    str, cyclopts.Parameter(name=["--client", "--client-ip"], help="Address of the client that hands it over.")
]
Helo = Annotated[str, cyclopts.Parameter(help="Name that client gives.")]
Network = Annotated[bool, cyclopts.Parameter(negative="", help="Ask the network checks, too.")]
