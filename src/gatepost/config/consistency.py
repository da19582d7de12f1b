"""Rules between parameters, checked when each one by itself is right."""

import ipaddress
import re

from gatepost.config.collect import Collected
from gatepost.config.doors import DOORS_LIMIT, SOCKET_MODE, Door, DoorKind, DoorTls, parse_door_address
from gatepost.config.engines import ENGINES_LIMIT, check_engine
from gatepost.config.grouping import SPAM_ACTIONS
from gatepost.config.items import PROTECTED, format_endpoint, is_host_and_port, parse_endpoint
from gatepost.config.problem import Severity
from gatepost.config.schema import Config
from gatepost.config.spam_actions import find_contradiction
from gatepost.config.transport import ListenerTls, SignIn
from gatepost.config.units import format_size, format_time
from gatepost.config.user_pages import check_user_quarantine

_BASE_OID = re.compile(r"1\.3\.6\.1\.4\.1(\.(0|[1-9][0-9]{0,8})){1,16}")


def check_consistency(config: Config, collected: Collected) -> None:
    """Note in `collected` what does not fit together."""
    times, limits, pool, network = config.timeouts, config.limits, config.filter, config.network
    if times.maximal_backoff_time < times.minimal_backoff_time:
        collected.note(
            Severity.ERROR,
            "timeouts",
            "maximal_backoff_time",
            f"{format_time(times.maximal_backoff_time)} is less than minimal_backoff_time "
            f"({format_time(times.minimal_backoff_time)})",
            mend="Raise it, or lower minimal_backoff_time",
        )
    # The older of the two counts only when somebody set it, and it alone (`assemble` has put it into `resolve`).
    older, newer = (collected.tables.get((name, 0), {}) for name in ("timeouts", "resolve"))
    section, name = ("resolve", "unreachable_ttl")
    if "unreachable_cache_refresh_period" in older and name not in newer:
        section, name = ("timeouts", "unreachable_cache_refresh_period")
    life = config.resolve.unreachable_ttl
    if life >= times.minimal_backoff_time:
        collected.note(
            Severity.WARNING,
            section,
            name,
            f"{format_time(life)} is not below minimal_backoff_time ({format_time(times.minimal_backoff_time)}): "
            "every retry would find its host still marked unreachable",
            mend="Lower it",
        )
    if times.maximal_queue_lifetime <= times.minimal_backoff_time:
        collected.note(
            Severity.WARNING,
            "timeouts",
            "maximal_queue_lifetime",
            "mail is given up before its first retry",
            mend="Raise it, or lower minimal_backoff_time",
        )
    if limits.maximal_incoming_session_size < limits.maximal_incoming_message_size:
        collected.note(
            Severity.WARNING,
            "limits",
            "maximal_incoming_session_size",
            f"{format_size(limits.maximal_incoming_session_size)} is less than one message may have "
            f"({format_size(limits.maximal_incoming_message_size)})",
            mend="Raise it",
        )
    if config.relay.relays > limits.antiviral_sessions:
        collected.note(
            Severity.ERROR,
            "limits",
            "antiviral_sessions",
            f"{limits.antiviral_sessions} cannot be shared by {config.relay.relays} relays",
            mend="Raise it, or lower relays",
        )
    if pool.server_max_filters:
        for name, value in (
            ("server_start_filters", pool.server_start_filters),
            ("server_spare_filters", pool.server_spare_filters),
        ):
            if value > pool.server_max_filters:
                collected.note(
                    Severity.ERROR,
                    "filter",
                    name,
                    f"{value} is more than server_max_filters ({pool.server_max_filters})",
                    mend="Lower it",
                )
    if bool(network.tls_cert) != bool(network.tls_key):
        name = "tls_key" if network.tls_cert else "tls_cert"
        collected.note(Severity.ERROR, "network", name, "certificate and key go together", mend=f"Set {name} as well")
    _check_listeners(config, collected)
    _check_doors(config, collected)
    _check_console(config, collected)
    check_user_quarantine(config, collected)
    _check_relaying(config, collected)
    _check_access(config, collected)
    _check_engines(config, collected)
    _check_spam_actions(config, collected)
    _check_uds(config, collected)
    _check_agentx(config, collected)


def _check_listeners(config: Config, collected: Collected) -> None:
    def note(number: int, name: str, what: str, mend: str) -> None:
        listener = config.listeners[number]
        told = f"listener {listener.name or listener.address}: {what}"
        collected.note(Severity.ERROR, "listener", name, told, mend=mend, item=number)

    for number, listener in enumerate(config.listeners):
        if listener.tls in (ListenerTls.REQUIRED, ListenerTls.IMPLICIT) and not config.network.tls_cert:
            note(number, "tls", f'"{listener.tls.value}" without a certificate', "Set network.tls_cert and tls_key")
        if listener.sign_in is not SignIn.OFF:
            if listener.tls is ListenerTls.OFF or not config.network.tls_cert:
                note(number, "sign_in", "clients sign in over TLS only, and there is none", "Give it TLS")
            if not config.access.password_file:
                note(number, "sign_in", "nobody could sign in", "Set access.password_file")
        if listener.proxy_protocol and not config.access.proxy_networks:
            note(number, "proxy_protocol", "nobody's PROXY header is believed", "Set access.proxy_networks")
        if listener.binarymime and not listener.chunking:
            note(number, "binarymime", "binary content comes by chunking, which is off", "Set chunking = true")


_SCANNING = (DoorKind.CLAMD, DoorKind.ICAP)
"""Doors where nothing else is asked for."""


def _check_doors(config: Config, collected: Collected) -> None:
    if len(config.doors) > DOORS_LIMIT:
        what = f"{len(config.doors)} doors: a filtering server may have {DOORS_LIMIT}"
        collected.note(Severity.ERROR, "door", "address", what, mend="Remove some", item=DOORS_LIMIT)
    addresses: set[str] = {format_endpoint(each.host, each.port) for each in config.listeners}
    groups = {group.name.lower(): group for group in config.groups}
    for number, door in enumerate(config.doors):

        def note(name: str, what: str, mend: str, number: int = number, door: Door = door) -> None:
            collected.note(Severity.ERROR, "door", name, f"door {door.name}: {what}", mend=mend, item=number)

        address = door.socket or format_endpoint(door.host, door.port)
        if address in addresses:
            note("address", f"{address} is given twice", "Remove one of them")
        addresses.add(address)
        if door.tls is not DoorTls.OFF and not config.network.tls_cert:
            note("tls", "encryption without a certificate", "Set network.tls_cert and tls_key")
        if door.client_ca and door.tls is DoorTls.OFF:
            note("client_ca", "clients show certificates over TLS only", 'Set tls = "on"')
        if not SOCKET_MODE.fullmatch(door.socket_mode):
            note("socket_mode", f"{door.socket_mode!r} is not three octal digits", "Write 660 or 666")
        if door.group and door.group.lower() not in groups:
            note("group", f"there is no group {door.group!r}", "Name one of [[group]], or leave it empty")
        judging = groups.get(door.group.lower()) if door.group else config.groups[-1]
        if door.kind in _SCANNING and judging is not None and not judging.check:
            what = f"door {door.name}: objects pass unscanned, `check` is off in {judging.name}"
            mend = "Set check = true there, or name another group"
            collected.note(Severity.WARNING, "door", "group", what, mend=mend, item=number)
        if door.kind is DoorKind.PROXY:
            try:
                host, port, path = parse_door_address(door.next_hop)
            except ValueError as error:
                note("next_hop", str(error), "Name where filtered mail goes")
            else:
                if (path or format_endpoint(host, port)) == address:
                    note("next_hop", "leads back to the door itself", "Name where filtered mail goes")


def _check_console(config: Config, collected: Collected) -> None:
    console = config.console
    if not console.enabled:
        return
    if not (console.tls_cert or console.proxies):
        for address in console.listen:
            host, _ = parse_endpoint(address)
            if not ipaddress.ip_address(host).is_loopback:
                what = f"{address} is reached from other machines, and passwords would cross the network in clear"
                mend = "Set tls_cert, or proxies when a proxy adds the encryption, or listen on 127.0.0.1"
                collected.note(Severity.ERROR, "console", "listen", what, mend=mend)
    if console.tls_key and not console.tls_cert:
        collected.note(Severity.ERROR, "console", "tls_cert", "a key without a certificate", mend="Set tls_cert")
    if console.session_time < console.idle_time:
        what = f"{format_time(console.session_time)} is less than idle_time ({format_time(console.idle_time)})"
        collected.note(Severity.WARNING, "console", "session_time", what, mend="Raise it, or lower idle_time")


def _check_relaying(config: Config, collected: Collected) -> None:
    rules = config.relay_rules
    if any(PROTECTED in line for line in config.access.relay_rule) and not config.network.protected_domains:
        collected.note(
            Severity.WARNING,
            "network",
            "protected_domains",
            "empty, so the relay rules for @protected allow nobody",
            mend="List your own domains",
        )
    # What matches no rule is refused; so only an open rule makes an open relay.
    if not config.access.relay_rule:
        if not config.listeners:
            return  # a filtering server without a relay takes no mail
        collected.note(
            Severity.WARNING,
            "access",
            "relay_rule",
            "no relay rule: only mail for the protected domains is accepted, from anybody",
            mend="Add rules that allow your networks and your domains, and end with 'deny from any to *'",
        )
        return
    for rule in rules:
        everybody = "any" in rule.clients and "*" in rule.recipients
        if everybody and rule.allow:
            collected.note(
                Severity.WARNING,
                "access",
                "relay_rule",
                "'allow from any to *' makes this gateway an open relay",
                mend="Allow only your networks, and everybody only to your domains",
            )
        if everybody:
            return


def _check_access(config: Config, collected: Collected) -> None:
    access = config.access
    if access.recipient_verification == "list" and not (access.known_recipients or access.known_recipients_file):
        what = "'list', but there is no list: every recipient would be refused"
        mend = "Set known_recipients or known_recipients_file"
        collected.note(Severity.ERROR, "access", "recipient_verification", what, mend=mend)
    if not access.dns_black_list and any("_dnsbl " in rule for rule in access.connect_rule):
        what = "a rule asks for DNSBL zones, and none is named: no client counts as listed"
        collected.note(Severity.WARNING, "access", "connect_rule", what, mend="Set dns_black_list")


def _check_engines(config: Config, collected: Collected) -> None:
    def note(number: int, name: str, what: str, mend: str) -> None:
        collected.note(Severity.ERROR, "engine", name, what, mend=mend, item=number)

    seen = set()
    for number, engine in enumerate(config.engines):
        wrong = check_engine(engine)
        if wrong is not None:
            note(number, *wrong)
        elif engine.name in seen:
            note(number, "name", f"{engine.name!r} is given twice", "Rename one of them")
        seen.add(engine.name)
    if len(config.engines) > ENGINES_LIMIT:
        what = f"{len(config.engines)} engines: a gateway may have {ENGINES_LIMIT}"
        note(ENGINES_LIMIT, "name", what, "Remove some")


def _check_spam_actions(config: Config, collected: Collected) -> None:
    for number, group in enumerate(config.groups):
        is_policy = number == len(config.groups) - 1
        for name in SPAM_ACTIONS:
            actions: tuple[str, ...] = getattr(group, name)
            wrong = find_contradiction(actions)
            # What a group has from the policy is told of the policy.
            inherited = not is_policy and actions == getattr(config.groups[-1], name)
            if wrong and not inherited:
                section, item = ("policy", 0) if is_policy else ("group", number)
                collected.note(Severity.ERROR, section, name, wrong, item=item, mend="Choose one of them")


def _check_uds(config: Config, collected: Collected) -> None:
    if not config.antispam.filter_uds_enabled:
        return
    if not config.uds.server and not config.antispam.filter_uds_cfg_file:
        what = "UDS is switched on, and no server is named: nobody is asked"
        collected.note(Severity.WARNING, "uds", "server", what, mend="Name servers, or set filter_uds_enabled = false")
    for server in config.uds.server:
        if not is_host_and_port(server):
            what = f"{server[:60]!r} is not host:port: UDS cannot be used"
            collected.note(Severity.WARNING, "uds", "server", what, mend="Write it like uds.example.org:7060")
    if not config.uds.key_file:
        what = "UDS is switched on, and there is no key: no server answers without one"
        collected.note(Severity.WARNING, "uds", "key_file", what, mend="Make one with `gatepost uds key`")


def _check_agentx(config: Config, collected: Collected) -> None:
    if not _BASE_OID.fullmatch(config.agentx.base_oid):
        what = f"{config.agentx.base_oid!r} is no arc below enterprises"
        collected.note(Severity.ERROR, "agentx", "base_oid", what, mend="Write 1.3.6.1.4.1 and the numbers behind it")
