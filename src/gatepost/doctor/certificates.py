"""Certificates: how long they are good, whether the key belongs to them, and whether they name this host."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State

AREA: Final = "certificate"
SOON_DAYS: Final = 21
"""Those who renew by themselves do so 30 days before the end: this is a week after that failed."""
LAST_DAYS: Final = 3
_PAIRS_LIMIT: Final = 100
_DAY_S: Final = 86400.0
_NAMES_SHOWN: Final = 5


def named_certificates(config: Config) -> dict[tuple[str, str], str]:
    """Return certificate and key ("": in the same file) of all that we show, with the name one should be made out to,
    "" for anything.
    """
    pages = (config.console, config.user_quarantine)
    shown = (config.network.tls_cert, config.network.tls_key)
    others = [
        *((each.tls_cert, each.tls_key) for each in pages if each.enabled and each.tls_cert),
        (config.tls.client_cert, config.tls.client_key),
        *((policy.client_cert, policy.client_key) for policy in config.tls_policies),
    ]
    return {shown: config.network.hostname} | {each: "" for each in others if each != shown}


def named_authorities(config: Config) -> list[str]:
    """Return the files of authorities that others' certificates are verified by; not those of the system."""
    return list(dict.fromkeys(filter(None, (config.tls.ca_file, *(door.client_ca for door in config.doors)))))


def check_certificates(config: Config, now: float) -> Iterator[Finding]:
    """Look at every certificate the configuration names; `now` is Unix time."""
    for (file, key), name in list(named_certificates(config).items())[:_PAIRS_LIMIT]:
        if file:
            yield from check_certificate(Path(file), Path(key or file), name, now)
    for each in named_authorities(config):
        yield from _check_authorities(Path(each), now)


def _check_authorities(file: Path, now: float) -> Iterator[Finding]:
    try:
        ends = [each.not_valid_after_utc for each in x509.load_pem_x509_certificates(file.read_bytes())]
    except (OSError, ValueError) as error:
        text = f"{file}: the authorities cannot be read: {error}"
        yield Finding(f"authorities:{file}", AREA, State.ERROR, text, "put the file there, in PEM form")
        return
    end = max(ends)
    days = (end.timestamp() - now) / _DAY_S
    if days <= SOON_DAYS:
        state = State.ERROR if days <= LAST_DAYS else State.WARNING
        text = f"{file}: no authority in it is good {'any more' if days <= 0 else f'after {end:%Y-%m-%d}'}"
        mend = "put the authority's new certificate there and reload: what is verified by it fails"
        yield Finding(f"authorities:{file}", AREA, state, text, mend)


def check_certificate(file: Path, key_file: Path, name: str, now: float) -> Iterator[Finding]:
    """Look at one certificate and its key; `name` is what it should be made out to, "" for anything."""
    key = f"certificate:{file}"
    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except OSError as error:
        mend = "put the file there, readable by the gateway's user"
        yield Finding(key, AREA, State.ERROR, f"{file} cannot be read: {error.strerror}", mend)
        return
    except ValueError as error:
        yield Finding(key, AREA, State.ERROR, f"{file} holds no certificate: {error}", "store the chain in PEM form")
        return
    end = certificate.not_valid_after_utc
    days = (end.timestamp() - now) / _DAY_S
    text = f"{file} is good until {end:%Y-%m-%d}"
    mend = "renew it and reload; sessions with TLS fail where peers verify it"
    if days <= 0:
        yield Finding(key, AREA, State.ERROR, f"{file} expired on {end:%Y-%m-%d}", mend)
    elif certificate.not_valid_before_utc.timestamp() > now:
        start = certificate.not_valid_before_utc
        yield Finding(key, AREA, State.ERROR, f"{file} is not good before {start:%Y-%m-%d %H:%M}", "look at the clock")
    elif days <= LAST_DAYS:
        yield Finding(key, AREA, State.ERROR, f"{text}, {days:.0f} days", mend)
    elif days <= SOON_DAYS:
        yield Finding(key, AREA, State.WARNING, f"{text}, {days:.0f} days", mend)
    else:
        yield Finding(key, AREA, State.OK, text)
    yield from _check_names(file, certificate, name)
    yield from _check_key(file, key_file, certificate)


def _check_names(file: Path, certificate: x509.Certificate, name: str) -> Iterator[Finding]:
    if not name:
        return
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [each.lower() for each in extension.value.get_values_for_type(x509.DNSName)]
    except (x509.ExtensionNotFound, ValueError):
        names = []
    wanted = name.lower()
    if wanted in names or f"*.{wanted.partition('.')[2]}" in names:
        return
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
    mend = "have one made out to network.hostname: peers that verify it go away"
    yield Finding(f"names:{file}", AREA, State.WARNING, f"{file} is not made out to {name}, but to: {shown}", mend)


def _check_key(file: Path, key_file: Path, certificate: x509.Certificate) -> Iterator[Finding]:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only where there is a certificate

    key = f"key:{key_file}"
    try:
        private = serialization.load_pem_private_key(key_file.read_bytes(), None)
        shared = key_file.stat().st_mode & 0o004
    except OSError as error:
        mend = "put the file there, readable by the gateway's user"
        yield Finding(key, AREA, State.ERROR, f"{key_file} cannot be read: {error.strerror}", mend)
        return
    except (TypeError, ValueError) as error:
        yield Finding(key, AREA, State.ERROR, f"{key_file} holds no usable key: {error}", "store it unlocked, as PEM")
        return
    if private.public_key() != certificate.public_key():
        mend = "name the key that the certificate was made for"
        yield Finding(key, AREA, State.ERROR, f"{key_file} does not belong to {file}", mend)
    elif shared:
        mend = f"chmod o-r {key_file}; if strangers had accounts here, have a new one made"
        yield Finding(key, AREA, State.WARNING, f"{key_file}: everybody on this host can read the key", mend)


def days_left(file: Path, now: float) -> float | None:
    """Return how many days a certificate is good for, None when it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError):
        return None
    left = certificate.not_valid_after_utc - dt.datetime.fromtimestamp(now, dt.UTC)
    return left / dt.timedelta(days=1)
