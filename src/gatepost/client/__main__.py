"""`python -I -m gatepost.client NAME`: how mail systems start a client program for each message.

Whatever goes wrong before the program runs, a file that cannot be imported during an upgrade for one, is temporary.
"""

import sys
import traceback

from gatepost.client.statuses import UNKNOWN, UNUSABLE

try:
    from gatepost.client.program import main

    status = main(sys.argv[1:])
except Exception:  # noqa: BLE001 - Python's own status for it, 1, returns mail to its senders
    traceback.print_exc()
    status = UNUSABLE.get("".join(sys.argv[1:2]), UNKNOWN)
sys.exit(status)
