"""The relay's reading of the entries that were made while the gateway runs (`policy.listings`). Called by
`relay.pipeline` with every configuration, and by `relay.questions` when the master has changed one.
"""

from collections.abc import Callable
from pathlib import Path

from gatepost.policy.listings import LISTS_FILE, NO_LISTINGS, Listings, decode_listings


def read_listings(state_path: str, say: Callable[[str, str], None]) -> Listings:
    """Return the entries compiled; without a file, none. A file that cannot be read counts as none, and is told."""
    path = Path(state_path) / LISTS_FILE
    try:
        return Listings(decode_listings(path.read_bytes()).listings)
    except FileNotFoundError:
        return NO_LISTINGS
    except (OSError, ValueError) as error:
        say("E", f"{path} cannot be read, its allow and block entries do not count: {error}")
        return NO_LISTINGS
