"""The schema as a whole: `Config` (what the gateway runs on), its objects, and the table of all parameters.

Everything that walks over parameters (assembler, dump, `config explain`, the manual) goes through `SECTIONS`.
"""

import enum
from typing import Annotated

import msgspec

from gatepost.config.access import Access, Rates
from gatepost.config.console import Console
from gatepost.config.doors import Door
from gatepost.config.engines import EngineTable
from gatepost.config.gateway import Ave, Forward, Limits, Locale, Network, Options, Path
from gatepost.config.greylisting import Greylisting
from gatepost.config.grouping import Group, Policy
from gatepost.config.licence_daemon import LicenceDaemon
from gatepost.config.licensing import Licence
from gatepost.config.masks import RelayRule
from gatepost.config.parameter import (
    OWN,
    Field,
    Item,
    Required,
    choice,
    count,
    duration,
    fields_of,
    flag,
    fold,
    listing,
    text,
)
from gatepost.config.process import FilterPool, Notices, Relay
from gatepost.config.profiles import Profiles
from gatepost.config.services import (
    Agentx,
    Antispam,
    Dnsbl,
    Snmp,
    Uds,
    Updater,
    UpdaterOptions,
    UpdaterPath,
    UpdaterReport,
)
from gatepost.config.shadow import Shadow
from gatepost.config.stores import Stores
from gatepost.config.timing import Resolve, Timeouts
from gatepost.config.tracking import Tracking
from gatepost.config.transport import HopOrder, ListenerTls, SignIn, Tls, TlsPolicy, Transport
from gatepost.config.update_servers import UpdateServer
from gatepost.config.user_quarantine import UserQuarantine
from gatepost.config.watch import Watch
from gatepost.model.profile import RuleSet

Texts = tuple[str, ...]


class BareLineFeed(enum.StrEnum):
    """What a listener does with a line that ends in a lone CR or LF."""

    REJECT = "reject"
    """Refuse the message: RFC 5321 §2.3.8 forbids it, and smuggled messages live on it."""
    FIX = "fix"
    """Split lines anew, then treat dots: for own devices that cannot do better."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that receives mail (in INI a `ListenOn` line)."""

    address: Annotated[
        str, text("", "ip:port, IPv6 in brackets", item=Item.ENDPOINT, required=Required.ALWAYS, generations=OWN)
    ] = ""
    name: Annotated[str, text("", "name in logs; empty = the address", generations=OWN)] = ""
    bare_line_feed: Annotated[
        BareLineFeed,
        choice(
            "", tuple(BareLineFeed), "lines that end in a lone CR or LF: refuse the mail, or mend it", generations=OWN
        ),
    ] = BareLineFeed.REJECT
    unbracketed_addresses: Annotated[
        bool,
        flag(
            "",
            "take `MAIL FROM:a@example.net` and `RCPT TO:a@example.net`, as old printers and scanners write them",
            generations=OWN,
        ),
    ] = True
    backlog: Annotated[int, count("", 1, 65535, "connections that may wait to be accepted by us", generations=OWN)] = (
        1024
    )
    tls: Annotated[
        ListenerTls,
        choice("", tuple(ListenerTls), "encryption, with network.tls_cert", generations=OWN),
    ] = ListenerTls.AUTO
    sign_in: Annotated[
        SignIn,
        choice("", tuple(SignIn), "whether clients sign in (over TLS only)", generations=OWN),
    ] = SignIn.OFF
    before_queue: Annotated[bool, flag("", "inspect before the client gets its 250", generations=OWN)] = False
    before_queue_deadline: Annotated[
        float,
        duration("", 5, 600, "time for that, below the client's own patience; then 451", generations=OWN),
    ] = 100.0
    proxy_protocol: Annotated[
        bool,
        flag("", "connections begin with a PROXY header from access.proxy_networks", generations=OWN),
    ] = False
    smtputf8: Annotated[bool, flag("", "take internationalised addresses (RFC 6531)", generations=OWN)] = True
    chunking: Annotated[bool, flag("", "take content in pieces, BDAT (RFC 3030)", generations=OWN)] = True
    binarymime: Annotated[bool, flag("", "take binary content; needs chunking", generations=OWN)] = False
    host: str = ""
    port: int = 0


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a route: a host, or a domain whose MX hosts are asked for at sending time."""

    host: str | None = None
    port: int = 25
    domain: str | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the routing table: where recipients that match `mask` go."""

    mask: str
    hops: tuple[Hop, ...]
    """At least one."""
    order: HopOrder = HopOrder.FAILOVER
    transport: Transport = Transport.SMTP


class RouteTable(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail for some recipients goes.

    As it is written: it becomes one `Route` for each recipient mask.
    """

    recipients: Annotated[
        Texts,
        listing(
            "", Item.ADDRESS_MASK, "recipient masks; without @ a domain", required=Required.ALWAYS, generations=OWN
        ),
    ] = ()
    next_hop: Annotated[
        Texts,
        listing(
            "",
            Item.NEXT_HOP,
            "`[host:port]` to connect there, or a domain to use its MX hosts; may be several",
            required=Required.ALWAYS,
            generations=OWN,
        ),
    ] = ()
    order: Annotated[
        HopOrder,
        choice("", tuple(HopOrder), "how several next hops share the mail", generations=OWN),
    ] = HopOrder.FAILOVER
    transport: Annotated[Transport, choice("", tuple(Transport), "what the next hop speaks", generations=OWN)] = (
        Transport.SMTP
    )


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A network with a name, for `from @name` in relay rules."""

    name: Annotated[str, text("", "name after the @", required=Required.ALWAYS, generations=OWN)] = ""
    addresses: Annotated[
        Texts, listing("", Item.NETWORK, "addresses and networks", required=Required.ALWAYS, generations=OWN)
    ] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The effective configuration. Sizes in bytes, times in seconds, paths absolute, groups resolved."""

    path: Path
    locale: Locale
    access: Access
    greylisting: Greylisting
    ave: Ave
    forward: Forward
    limits: Limits
    rates: Rates
    tls: Tls
    network: Network
    options: Options
    timeouts: Timeouts
    resolve: Resolve
    filter: FilterPool
    relay: Relay
    notices: Notices
    policy: Policy
    stores: Stores
    antispam: Antispam
    uds: Uds
    snmp: Snmp
    agentx: Agentx
    updater: Updater
    console: Console
    user_quarantine: UserQuarantine
    tracking: Tracking
    watch: Watch
    licence_daemon: LicenceDaemon
    licence: Licence
    listeners: tuple[Listener, ...]
    """`[[listener]]` first, then `listen_on`."""
    routes: tuple[Route, ...]
    """`[[route]]` first, then `forward_route`; first match decides."""
    tls_policies: tuple[TlsPolicy, ...]
    """First match decides."""
    zones: tuple[Zone, ...]
    relay_rules: tuple[RelayRule, ...]
    """`access.relay_rule` with `@names` resolved; feed them to `RelayTable`."""
    engines: tuple[EngineTable, ...]
    """Besides the built-in one, in file order."""
    groups: tuple[Group, ...]
    """In file order, fully resolved; the last is the policy itself."""
    shadows: tuple[Shadow, ...] = ()
    """In file order, with the groups as they would be."""
    update_servers: tuple[UpdateServer, ...] = ()
    """In file order."""
    doors: tuple[Door, ...] = ()
    """Where other mail systems ask for a judgement, in file order."""
    profiles: Profiles = Profiles()
    rule_set: RuleSet = RuleSet()
    """What `profiles.path` holds, when rules are in force: checked."""


class Section(msgspec.Struct, frozen=True):
    """A section: its TOML name, its struct, and what holds for all of it."""

    name: str
    struct: type[msgspec.Struct]
    array: bool = False
    """True: an array of tables (`[[name]]`)."""
    external: bool = True
    """False: values may not come from external files (F-CONF-07)."""
    built: bool = True

    @property
    def title(self) -> str:
        """What the section is about: the first paragraph of its struct."""
        return " ".join((self.struct.__doc__ or "").strip().split("\n\n")[0].split())


SECTIONS: tuple[Section, ...] = (
    Section("relay", Relay),
    Section("path", Path, external=False),
    Section("network", Network),
    Section("network.zone", Zone, array=True),
    Section("listener", Listener, array=True),
    Section("door", Door, array=True),
    Section("route", RouteTable, array=True),
    Section("access", Access),
    Section("greylisting", Greylisting),
    Section("limits", Limits),
    Section("rates", Rates),
    Section("tls", Tls),
    Section("tls_policy", TlsPolicy, array=True),
    Section("timeouts", Timeouts),
    Section("options", Options),
    Section("locale", Locale, external=False),
    Section("filter", FilterPool),
    Section("ave", Ave),
    Section("engine", EngineTable, array=True),
    Section("policy", Policy),
    Section("group", Group, array=True),
    Section("shadow", Shadow, array=True),
    Section("profiles", Profiles, external=False),
    Section("notices", Notices),
    Section("stores", Stores),
    Section("forward", Forward),
    Section("resolve", Resolve),
    Section("antispam", Antispam),
    Section("antispam.dnsbl", Dnsbl),
    Section("uds", Uds),
    Section("tracking", Tracking),
    Section("console", Console, external=False),
    Section("user_quarantine", UserQuarantine, external=False),
    Section("watch", Watch, external=False),
    Section("licence_daemon", LicenceDaemon, external=False),
    Section("licence", Licence, external=False),
    Section("snmp", Snmp),
    Section("agentx", Agentx),
    Section("updater.path", UpdaterPath, external=False),
    Section("updater.options", UpdaterOptions, external=False),
    Section("updater.report", UpdaterReport, external=False),
    Section("update_server", UpdateServer, array=True, external=False),
)

SECTION_BY_NAME: dict[str, Section] = {section.name: section for section in SECTIONS}

FIELDS: dict[str, tuple[Field, ...]] = {section.name: fields_of(section.name, section.struct) for section in SECTIONS}
"""Every parameter, by section."""

MOVED: dict[tuple[str, str], str] = {("forward", fold("ProtectedDomains")): "network"} | {
    ("antispam", fold(field.documented)): "filter" for field in FIELDS["filter"]
}
"""(section, folded name) of parameters that are also read in a section other than their own: their own section."""


def _index() -> dict[str, dict[str, Field]]:
    index: dict[str, dict[str, Field]] = {}
    for section, fields in FIELDS.items():
        names = index.setdefault(section, {})
        for field in fields:
            for name in (field.name, field.documented, *field.parameter.aliases):
                names.setdefault(fold(name), field)
    return index


_INDEX = _index()


def find_field(section: str, name: str) -> Field | None:
    """Return the parameter read under `name` (any spelling) in `section`, None when there is none."""
    section = MOVED.get((section, fold(name)), section)
    return _INDEX.get(section, {}).get(fold(name))


def find_fields(name: str) -> list[Field]:
    """Return every parameter of that name in any section; `name` may be `section.name`."""
    section, _, last = name.rpartition(".")
    wanted = normalise_section(section) if section else ""
    sections = [wanted] if wanted else list(FIELDS)
    found = [field for field in (find_field(s, last) for s in sections) if field is not None]
    return list(dict.fromkeys(found))


_PREFIX = "mailgw."
_OLDER_PREFIX = "smtpgw."


def normalise_section(name: str) -> str:
    """Return a section's name without the documented prefixes, in lower case (F-CONF-12)."""
    return name.strip().lower().removeprefix(_PREFIX).removeprefix(_OLDER_PREFIX)


def is_older_section(name: str) -> bool:
    """Tell whether a section is written with the prefix of generations 5.0 and 5.5."""
    return name.strip().lower().startswith(_OLDER_PREFIX)


def is_built(field: Field) -> bool:
    """Tell whether anything acts on the parameter yet."""
    return field.parameter.built and SECTION_BY_NAME[field.section].built
