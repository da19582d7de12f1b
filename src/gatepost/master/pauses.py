"""Destinations an operator lets wait: which they are, kept in a file of the state directory over every restart.

The master owns the file and tells the relays; each relay also notes it in its spool, so that a relay is right from its
first moment on.
"""

from pathlib import Path

import msgspec

from gatepost.storage.whole_file import replace_file

PAUSES_LIMIT = 256
"""Destinations paused at once: who needs more means `send-off`, and all must fit one message to a relay."""
DOMAIN_LIMIT = 255
"""Characters of a domain (RFC 5321 §4.5.3.1.2)."""

_DECODER = msgspec.json.Decoder(list[str])


class PauseError(Exception):
    """A destination cannot be paused or taken up again; says why."""


class Pauses:
    """The set of paused destinations and its file."""

    def __init__(self, file: Path) -> None:
        """Read the file. PauseError when it is there and cannot be read: mail must not go out that was to wait."""
        self._file = file
        try:
            self._domains = set(_DECODER.decode(file.read_bytes()))
        except FileNotFoundError:
            self._domains = set()
        except (OSError, ValueError) as error:
            raise PauseError(f"{file} cannot be read: {error}. It lists the destinations that wait") from error

    @property
    def domains(self) -> tuple[str, ...]:
        """The paused destinations in order."""
        return tuple(sorted(self._domains))

    def change(self, domain: str, *, paused: bool) -> bool:
        """Pause a destination or take it up again, durably; False when it is so already. PauseError."""
        domain = domain.strip().lower()
        if not domain or len(domain) > DOMAIN_LIMIT or any(c.isspace() or c in "@*?" for c in domain):
            raise PauseError(f"{domain[:DOMAIN_LIMIT]!r} is not a domain")
        if (domain in self._domains) == paused:
            return False
        if paused and len(self._domains) >= PAUSES_LIMIT:
            raise PauseError(f"{PAUSES_LIMIT} destinations are paused already: switch sending off instead")
        changed = self._domains ^ {domain}
        try:
            replace_file(self._file, msgspec.json.encode(sorted(changed)))
        except OSError as error:
            raise PauseError(f"{self._file} cannot be written: {error.strerror or error}") from error
        self._domains = changed
        return True
