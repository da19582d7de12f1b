"""Sections of services: anti-spam, and those that are read, checked and shown, while what they steer is not built yet.

The latter carry `built=False` in `gatepost.config.schema.SECTIONS`, which goes for every parameter in them.
"""

import enum
from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Guard, Item, choice, count, duration, flag, listing, path, statuses, text
from gatepost.config.units import Unit

Texts = tuple[str, ...]


class Preset(enum.StrEnum):
    """How anti-spam and anti-virus work together (specification antispam.md §9)."""

    SPEED = "speed"
    """Anti-spam first; what it keeps from everybody is not scanned."""
    RECOMMENDED = "recommended"
    """Anti-spam, then anti-virus."""
    PROTECTION = "protection"
    """Anti-virus, then anti-spam; everything is scanned."""


class Dnsbl(msgspec.Struct, frozen=True, kw_only=True):
    """Rated DNSBL services, common to all groups."""

    service: Annotated[
        Texts,
        listing(
            "Service",
            Item.SERVICE,
            "zone and rating (1…100), one service each; more than 100 together = blacklisted",
            generations="M56 A30",
        ),
    ] = ()


class Antispam(msgspec.Struct, frozen=True, kw_only=True):
    """The anti-spam engine. The filter pool's own parameters, written here, are read into `[filter]`."""

    spam_detection: Annotated[
        str, choice("SpamDetection", ("soft", "standard", "hard"), "intensity", generations="M55")
    ] = "standard"
    preset: Annotated[
        Preset,
        choice("", tuple(Preset), "defaults of anti-spam and anti-virus together, and their order", generations=OWN),
    ] = Preset.RECOMMENDED
    white_list: Annotated[
        Texts, listing("", Item.SENDER, "senders always trusted, common to all groups", generations=OWN)
    ] = ()
    black_list: Annotated[
        Texts, listing("", Item.SENDER, "senders never wanted, common to all groups", generations=OWN)
    ] = ()
    header_prefix: Annotated[
        str, text("", "how the names of the fields about spam begin", item=Item.HEADER_PREFIX, generations=OWN)
    ] = "X-SpamTest"
    filter_data_timeout: Annotated[
        float,
        duration("FilterDataTimeout", 10, 100, "wait for data from the client", generations="M56 A30", built=False),
    ] = 30.0
    filter_spf_data_timeout: Annotated[
        float, duration("FilterSPFDataTimeout", 1, 10, "one SPF question", generations="M56 A30")
    ] = 1.0
    filter_dns_timeout: Annotated[
        float, duration("FilterDNSTimeout", 1, 60, "all DNS checks of a message together", generations="M56 A30")
    ] = 10.0
    filter_received_headers_limit: Annotated[
        int,
        count(
            "FilterReceivedHeadersLimit", 0, 100, "Received fields whose addresses are checked", generations="M56 A30"
        ),
    ] = 2
    filter_parse_ms_office: Annotated[
        bool, flag("FilterParseMSOffice", "analyse the text of DOC and RTF files", generations="M56 A30")
    ] = False
    recognise_text: Annotated[
        str,
        choice(
            "",
            ("auto", "on", "off"),
            "read words in pictures of mail that has hardly any text; auto = where the optional library and its "
            "language data are installed, on = and say so when they are not",
            generations=OWN,
        ),
    ] = "auto"
    recognise_text_data: Annotated[
        str, path("", "directory of Tesseract's language data, empty = where Debian has it", generations=OWN)
    ] = ""
    filter_uds_enabled: Annotated[bool, flag("FilterUDSEnabled", "ask UDS servers", generations="M56 A30")] = False
    filter_uds_timeout: Annotated[
        float, duration("FilterUDSTimeout", 1, 60, "then the next UDS server", generations="M56 A30")
    ] = 10.0
    filter_uds_cfg_file: Annotated[str, path("FilterUDSCfgFile", "UDS configuration", generations="M56 A30")] = ""
    filter_stat_log_file: Annotated[
        str,
        path("FilterStatLogFile", "statistics log: a line for each spam verdict; empty = none", generations="M56 A30"),
    ] = ""
    filter_user_log_file: Annotated[
        str,
        path(
            "FilterUserLogFile",
            "user log: a line for each recipient's spam verdict; empty = none",
            generations="M56 A30",
        ),
    ] = ""
    spfd_pool_size: Annotated[
        int, count("SPFDPoolSize", 1, 50, "SPF processes", generations="M56 A30", built=False)
    ] = 5
    spfd_max_requests_per_child: Annotated[
        int,
        count(
            "SPFDMaxRequestsPerChild",
            50,
            10000,
            "questions in an SPF process's life",
            generations="M56 A30",
            built=False,
        ),
    ] = 1000
    spfd_max_queue_size: Annotated[
        int,
        count(
            "SPFDMaxQueueSize",
            10,
            1000,
            "messages whose SPF check waits for answers; beyond it SPF is not checked",
            generations="M56 A30",
        ),
    ] = 200
    spfd_cleanup_interval: Annotated[
        float,
        duration("SPFDCleanupInterval", 30, 3600, "pause between cache clean-ups", generations="M56 A30", built=False),
    ] = 600.0
    dnsbl_premium: Annotated[
        Texts,
        listing("", Item.STEP_LIST, "DNSBL zones asked first: the most reliable, decisive alone", generations=OWN),
    ] = ()
    dnsbl_reliable: Annotated[
        Texts, listing("", Item.STEP_LIST, "DNSBL zones asked when no premium one has it", generations=OWN)
    ] = ()
    dnsbl_standard: Annotated[
        Texts, listing("", Item.STEP_LIST, "DNSBL zones asked when none of the others has it", generations=OWN)
    ] = ()
    surbl_zones: Annotated[
        Texts,
        listing("", Item.LINK_SERVICE, "lists of domains in links, zone and rating (1…100) each", generations=OWN),
    ] = ()
    surbl_skip: Annotated[
        Texts, listing("", Item.DOMAIN_MASK, "domains in links that are not asked about", generations=OWN)
    ] = ()
    trusted_arc_sealers: Annotated[
        Texts,
        listing(
            "",
            Item.HOSTNAME,
            "domains of ARC seals that are believed when they say that DMARC passed before a list changed the mail",
            generations=OWN,
        ),
    ] = ()
    trusted_authserv_ids: Annotated[
        Texts,
        listing(
            "",
            Item.HOSTNAME,
            "hosts of ours in front of us whose Authentication-Results are believed; they have to take out strangers'",
            generations=OWN,
        ),
    ] = ()
    own_names: Annotated[
        Texts,
        listing(
            "",
            Item.PERSON,
            "people whose names others would borrow, each with the true address; the name with an address elsewhere is "
            "a sign of fraud",
            generations=OWN,
        ),
    ] = ()
    auto_learn: Annotated[
        bool,
        flag("", "teach the classifier a few messages a day that are beyond doubt spam or wanted", generations=OWN),
    ] = False
    reputation: Annotated[
        bool, flag("", "weigh what client networks and sender domains have sent before", generations=OWN)
    ] = False
    reputation_half_life: Annotated[
        float,
        duration("", 3600, 365 * 86400, "time after which an observation counts half", generations=OWN),
    ] = 14 * 86400.0
    dnsbl: Dnsbl = Dnsbl()


class Uds(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that know fingerprints of spam."""

    server: Annotated[Texts, listing("Server", Item.TEXT, "host:port of UDS servers", generations="M56")] = ()
    rtt_interval: Annotated[
        float, duration("RttInterval", 1, 86400, "pause between probes of the servers", generations="M56")
    ] = 3600.0
    key_file: Annotated[str, path("", "our key, as `gatepost uds key` makes it", generations=OWN)] = ""
    report_certain_spam: Annotated[
        bool,
        flag(
            "",
            "report fingerprints of mail that is spam beyond doubt by itself; the servers have to allow us reports",
            generations=OWN,
        ),
    ] = False
    reporters: Annotated[
        int, count("", 1, 255, "gateways that have to report a fingerprint until it is known spam", generations=OWN)
    ] = 2


SNMP_GROUPS = ("config", "statistics", "admin", "update")
TRAP_GROUPS = ("config", "admin", "update")


class Snmp(msgspec.Struct, frozen=True, kw_only=True):
    """What SNMP shows."""

    snmp_services: Annotated[
        Texts, statuses("SNMPServices", SNMP_GROUPS, "information groups readable", generations="M56")
    ] = ()
    snmp_traps: Annotated[Texts, statuses("SNMPTraps", TRAP_GROUPS, "events that send traps", generations="M56")] = ()
    alert_threshold: Annotated[
        int,
        count(
            "AlertThreshold",
            0,
            100,
            "share of infected messages in the last hour that sends the outbreak trap; 0 = off",
            unit=Unit.PERCENT,
            generations="M56",
        ),
    ] = 0


class Agentx(msgspec.Struct, frozen=True, kw_only=True):
    """Connection to the SNMP master agent."""

    socket: Annotated[
        str, text("Socket", "path or host:port of the master agent", generations="M56", guard=Guard.STATE)
    ] = "/var/agentx/master"
    timeout: Annotated[float, duration("Timeout", 1, 3600, "one request", generations="M56")] = 5.0
    retries: Annotated[int, count("Retries", 0, 1000, "attempts of a request", generations="M56")] = 5
    ping_interval: Annotated[
        float, duration("PingInterval", 1, 3600, "pause before reconnecting", generations="M56")
    ] = 15.0
    base_oid: Annotated[
        str,
        text("", "root of MAILGW-MIB: an arc below 1.3.6.1.4.1 that is yours, in digits and dots", generations=OWN),
    ] = "1.3.6.1.4.1.8072.9999.9999.25"


class UpdaterPath(msgspec.Struct, frozen=True, kw_only=True):
    """Files of the updater."""

    upload_patch_path: Annotated[
        str,
        path(
            "UploadPatchPath",
            "component updates; without effect: components come with the program's package",
            generations="G50 F56",
        ),
    ] = ""
    back_up_path: Annotated[
        str, path("BackUpPath", "copy of the databases before an update", generations="G50 F56")
    ] = ""
    pid_file: Annotated[str, path("PidFile", "guard against a second updater; empty = none", generations="F56")] = ""
    av_bases_test_path: Annotated[
        str, path("AVBasesTestPath", "tester run on downloaded databases", generations="F56", guard=Guard.FILE)
    ] = ""


class UpdaterOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where updates come from and how."""

    keep_silent: Annotated[bool, flag("KeepSilent", "no report on the console", generations="F56")] = False
    update_server_url: Annotated[str, text("UpdateServerUrl", "own source: URL or directory", guard=Guard.STATE)] = ""
    use_update_server_url: Annotated[bool, flag("UseUpdateServerUrl", "try the own source first")] = False
    use_update_server_url_only: Annotated[
        bool, flag("UseUpdateServerUrlOnly", "never fall back to the server list")
    ] = False
    post_update_cmd: Annotated[
        str, text("PostUpdateCmd", "command run after an update; empty = reload", guard=Guard.FILE)
    ] = ""
    region_settings: Annotated[
        str, text("RegionSettings", "region code: prefer near servers", generations="G50 F56")
    ] = ""
    connect_timeout: Annotated[
        float, duration("ConnectTimeout", 1, 3600, "then the next server", generations="G50 F56")
    ] = 20.0
    use_proxy: Annotated[
        bool, flag("UseProxy", "go through proxy_address, else the environment's proxy", generations="G50 F56")
    ] = True
    proxy_address: Annotated[
        str, text("ProxyAddress", "http://user:pass@host:port", generations="G50 M56 F56", secret=True)
    ] = ""
    passive_ftp: Annotated[bool, flag("PassiveFtp", "passive FTP", generations="G50 F56")] = False


class UpdaterReport(msgspec.Struct, frozen=True, kw_only=True):
    """The updater's log."""

    report_file_name: Annotated[
        str,
        text(
            "ReportFileName",
            "path of the log, or `syslog`; empty = gw-update.log in the service's logs, else the temporary directory",
            guard=Guard.STATE,
        ),
    ] = ""
    report_level: Annotated[int, count("ReportLevel", 0, 9, "how much is logged")] = 4
    append: Annotated[bool, flag("Append", "append to the log, do not overwrite")] = True


class Updater(msgspec.Struct, frozen=True, kw_only=True):
    """The database updater."""

    path: UpdaterPath = UpdaterPath()
    options: UpdaterOptions = UpdaterOptions()
    report: UpdaterReport = UpdaterReport()
