"""Has a certificate been renewed that sessions do not show yet? Asked at every look for problems.

Made by `master.process` for `master.problems`. Certificates, keys and authorities are read at the start and at a
reload; a program that renews them and reloads nothing would be found out the day the former one ends.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.certificates import AREA, named_authorities, named_certificates
from gatepost.doctor.finding import Finding, State

_MEND: Final = "`gatepost reload`; have whatever renews it do that by itself (certbot: --deploy-hook 'gatepost reload')"


class Renewals:
    """The files of the configuration in force, as they were when it came into force."""

    def __init__(self, config: Callable[[], Config]) -> None:
        """`config()` is the one in force: a reload makes another object of it."""
        self._config = config
        self._seen: Config | None = None
        self._were: dict[str, bytes] = {}

    def look(self) -> list[Finding]:
        """Return what has changed since. May block."""
        config = self._config()
        named = {file: (file, key) for file, key in named_certificates(config) if file}
        named |= {file: (file, "") for file in named_authorities(config)}
        are = {file: _digest(files) for file, files in named.items()}
        if config is not self._seen:
            self._seen, self._were = config, are
        return [
            Finding(f"renewed:{file}", AREA, State.WARNING, f"{file} has changed since it was read last", _MEND)
            for file, digest in are.items()
            if digest and digest != self._were.get(file)
        ]


def _digest(files: tuple[str, str]) -> bytes:
    """Return what differs when a file does, nothing when one cannot be read: that is told elsewhere."""
    try:
        return sha256(b"".join(sha256(Path(file).read_bytes()).digest() for file in files if file)).digest()
    except OSError:
        return b""
