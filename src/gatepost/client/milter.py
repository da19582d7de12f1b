"""`gatepost client milter -c FILE`: Postfix and Sendmail ask a filtering server, on this host or elsewhere.

Started apart from the mail system, which finds it at `send_mail_address`. It is the server's own milter door with a
remote judge: what goes over the network is the product's protocol, which is one question and one answer a message.
"""

from collections.abc import Sequence
from typing import Final

from gatepost.client.listening import listen
from gatepost.client.program import ClientProgram
from gatepost.client.settings import ClientSettings
from gatepost.client.statuses import UNUSABLE
from gatepost.config.doors import Door, DoorKind
from gatepost.service.channel import Serve
from gatepost.service.judge import Context
from gatepost.service.milter_door import CONTENT_LIMIT, make

NAME: Final = "milter"
"""Of the door, in records and log."""


def door_of(settings: ClientSettings) -> Door:
    """Return the door that settings describe."""
    return Door(
        name=NAME,
        kind=DoorKind.MILTER,
        deadline=settings.client_deadline,
        on_error=settings.client_on_error,
        size_limit=settings.client_filtering_size_limit,
        default_domain=settings.client_default_domain,
    )


def run(program: ClientProgram, arguments: Sequence[str]) -> int:
    """Serve the mail system until a signal ends it; return the exit status."""
    if arguments:
        program.report("F", f"milter takes no arguments: {' '.join(arguments)}")
        return UNUSABLE["milter"]

    def make_serve(context: Context) -> Serve:
        return make(context, memory_bytes=program.settings.client_message_store_mem or CONTENT_LIMIT)

    settings = program.settings
    return listen(program, settings.send_mail_address, door_of, make_serve, socket_mode=settings.send_mail_socket_mode)
