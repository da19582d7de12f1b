"""What the master tells the console at its start: one JSON line on its standard input.

Made by `master.console`, read by `console.process`.
"""

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All a console knows of the configuration."""

    host_names: tuple[str, ...] = ()
    """Names under which it may be called, lower case, besides `localhost` and addresses."""
    tls_cert: str = ""
    """Path of the certificate chain; "" = HTTP."""
    tls_key: str = ""
    """Path of the key, "" = in the same file."""
    proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` and `-Proto` are believed."""
    api_rate: int = 50
    """Requests a second of one token."""
    product: str = "Gatepost"
    version: str = ""
