"""What must fit together for the quarantine of recipients: addresses and encryption, the base of links, times of day.

Called by `config.consistency`; `parse_time` also by the schedule of digests (`master.digest_schedule`). Pure.
"""

import datetime as dt
import ipaddress
import urllib.parse

from gatepost.config.collect import Collected
from gatepost.config.items import parse_endpoint
from gatepost.config.problem import Severity
from gatepost.config.schema import Config

SECTION = "user_quarantine"


def parse_time(text: str) -> dt.time:
    """Return a time of day, `8:00`. ValueError."""
    hour, colon, minute = text.strip().partition(":")
    if not colon or not (hour.isdecimal() and minute.isdecimal()) or len(hour) > 2 or len(minute) != 2:
        raise ValueError(f"{text!r} is no time of day: 8:00")
    return dt.time(int(hour), int(minute))


def link_base(config: Config) -> str:
    """Return how links begin, without a slash at the end."""
    own = config.user_quarantine
    if own.url:
        return own.url.rstrip("/")
    _, port = parse_endpoint(own.listen[0]) if own.listen else ("", 0)
    return f"{'https' if own.tls_cert or own.proxies else 'http'}://{config.network.hostname}:{port}"


def check_user_quarantine(config: Config, collected: Collected) -> None:
    """Note in `collected` what does not fit together."""
    _check_times(config, collected)
    own = config.user_quarantine
    if not own.enabled:
        if any(group.user_quarantine for group in config.groups):
            what = "not enabled, but a group lets recipients see their spam: nobody hears of it"
            collected.note(Severity.WARNING, SECTION, "enabled", what, mend="Set enabled = true")
        return
    if not config.network.protected_domains:
        what = "network.protected_domains is empty: nobody is a recipient of ours"
        collected.note(Severity.WARNING, SECTION, "enabled", what, mend="List your domains there")
    if not own.listen:
        what = "the pages are to be there, and listen nowhere"
        collected.note(Severity.ERROR, SECTION, "listen", what, mend="Name an address")
    if not (own.tls_cert or own.proxies):
        for address in own.listen:
            host, _ = parse_endpoint(address)
            if not ipaddress.ip_address(host).is_loopback:
                what = f"{address} is reached from other machines, and links would cross the network in clear"
                mend = "Set tls_cert, or proxies when a proxy adds the encryption, or listen on 127.0.0.1"
                collected.note(Severity.ERROR, SECTION, "listen", what, mend=mend)
    if own.tls_key and not own.tls_cert:
        collected.note(Severity.ERROR, SECTION, "tls_cert", "a key without a certificate", mend="Set tls_cert")
    if own.url and not _is_base(own.url):
        what = f"{own.url!r} is no beginning of a link: https://host, with a port perhaps, and no more"
        collected.note(Severity.ERROR, SECTION, "url", what, mend="https://spam.example.org")


def _is_base(url: str) -> bool:
    if not (url.isascii() and url.isprintable()) or any(each in url for each in "\"'<> \\"):
        return False
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in ("", "/")
    return parts.scheme in ("https", "http") and bool(parts.hostname) and plain and port != 0


def _check_times(config: Config, collected: Collected) -> None:
    policy = config.groups[-1]
    for number, group in enumerate(config.groups):
        if group is not policy and group.digest_times == policy.digest_times:
            continue
        for text in group.digest_times:
            try:
                parse_time(text)
            except ValueError as error:
                section, item = ("policy", 0) if group is policy else ("group", number)
                collected.note(Severity.ERROR, section, "digest_times", str(error), mend="8:00", item=item)
