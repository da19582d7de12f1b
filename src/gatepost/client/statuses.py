"""Exit statuses of client programs that cannot do their work: such that no mail is lost, whoever started them.

Imports nothing of the product, so that they are known even when nothing else of it can be imported.
"""

from typing import Final

UNUSABLE: Final = {
    "milter": 78,  # started by a service manager; the mail system does what it is set to while the milter is away
    "pipe": 75,  # EX_TEMPFAIL; pipe transports return the mail for most others, 1 and EX_CONFIG among them
    "qmail": 81,  # qmail-queue(8): internal bug, temporary
    "cgpro": 78,  # CommuniGate starts its helpers again, and keeps mail meanwhile
}
"""By the name of the program."""
UNKNOWN: Final = 75
"""Of a program that there is not: a wrong word in a mail system's configuration must not return its mail."""
