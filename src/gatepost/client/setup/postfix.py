"""Set-up of Postfix: as a milter, after the queue (`content_filter`) or before it (`smtpd_proxy_filter`).

`main.cf` and `master.cf` are edited as texts: what is not ours stays as it is, comments and order included.
"""

import re
from typing import Final

from gatepost.client.settings import ClientSettings
from gatepost.client.setup.files import read_state
from gatepost.client.setup.service import edited, plan_settings, plan_unit, read_text, start_words
from gatepost.client.setup.values import Change, Plan, SetupError, Wanted

MODES: Final = ("milter", "content_filter", "smtpd_proxy_filter")
MILTER: Final = "tcp:127.0.0.1:8891"
"""Where the milter client listens: Postfix' processes may be chrooted, and see no socket elsewhere."""
PIPE: Final = "tcp:127.0.0.1:9026"
BACK: Final = "tcp:127.0.0.1:10026"
"""Where filtered mail comes back."""
TRANSPORT: Final = "gatepost"
FORWARD: Final = """\
- - n - 10 smtp
    -o smtp_send_xforward_command=yes
    -o disable_mime_output_conversion=yes
    -o smtp_data_done_timeout=1200s
    -o max_use=20
"""
BACK_OPTIONS: Final = """\
    -o content_filter=
    -o smtpd_proxy_filter=
    -o smtpd_authorized_xforward_hosts=127.0.0.0/8
    -o mynetworks=127.0.0.0/8
    -o smtpd_delay_reject=no
    -o smtpd_client_restrictions=permit_mynetworks,reject
    -o smtpd_helo_restrictions=
    -o smtpd_sender_restrictions=
    -o smtpd_relay_restrictions=permit_mynetworks,reject
    -o smtpd_recipient_restrictions=permit_mynetworks,reject
    -o smtpd_data_restrictions=
    -o smtpd_end_of_data_restrictions=
    -o smtpd_tls_security_level=none
    -o smtpd_client_connection_count_limit=0
    -o receive_override_options={override}
"""
OVERRIDE: Final = {
    # Header checks, milters and address mappings were done before the filter, and would be done twice.
    "content_filter": "no_unknown_recipient_checks,no_header_body_checks,no_milters,no_address_mappings",
    # Nothing was in the queue before.
    "smtpd_proxy_filter": "no_unknown_recipient_checks",
}


def plan_postfix(wanted: Wanted) -> Plan:
    """Return what set-up changes. SetupError."""
    mode = wanted.mode or "milter"
    if mode not in MODES:
        raise SetupError(f"--mode {mode}: Postfix has {', '.join(MODES)}")
    main_path, master_path = wanted.config / "main.cf", wanted.config / "master.cf"
    main_state, main = read_text(main_path)
    master_state, master = read_text(master_path)
    if mode == "milter":
        address, settings, more = _door_or_client(wanted, "milter", "send_mail_address", MILTER, {})
        if (
            wanted.units
            and not wanted.door
            and address.startswith("unix:")
            and not settings.send_mail_socket_mode & 0o2
        ):
            # The unit's user and group are its own: nobody else is among those who may connect.
            raise SetupError(
                f'{wanted.settings}: for Postfix to connect set send_mail_socket_mode = "666", or tcp:ip:port'
            )
        place = _milter_place(address, main, master)
        action = settings.client_on_error.value
        entry = build_milter(place, action)
        for name in ("smtpd_milters", "non_smtpd_milters"):
            main = add_to_list(main, name, entry, place)
    else:
        needed: dict[str, str | bool] = {
            "pipe_outgoing_addr": BACK,
            "pipe_use_x_forward": True,
            "pipe_before_queue": mode == "smtpd_proxy_filter",
        }
        address, settings, more = _door_or_client(wanted, "pipe", "pipe_listen", PIPE, needed)
        place = _tcp_place(address)
        back = f"n - n - - smtpd\n{BACK_OPTIONS.format(override=OVERRIDE[mode])}"
        master = add_service(master, _host_port(BACK), "inet", back)
        if mode == "content_filter":
            main = set_once(main, "content_filter", f"{TRANSPORT}:{place}")
            master = add_service(master, TRANSPORT, "unix", FORWARD)
        else:
            options = {"smtpd_proxy_filter": _host_port(address), "smtpd_proxy_options": "speed_adjust"}
            master = add_options(master, "smtp", "inet", options)
    changes = (*more, *edited(main_path, main_state, main), *edited(master_path, master_state, master))
    then = () if wanted.door else start_words(wanted, "milter" if mode == "milter" else "pipe")
    return Plan(
        system="postfix",
        mode=mode,
        changes=changes,
        then=(*then, f"postfix -c {wanted.config} reload"),
        check=("postfix", "-c", str(wanted.config), "check"),
    )


def build_milter(place: str, action: str) -> str:
    """Return the entry of a list of milters: `action` is what Postfix does while nothing listens at `place`."""
    return f"{{ {place}, default_action={action}, connect_timeout=10s, content_timeout=300s }}"


def _door_or_client(
    wanted: Wanted, program: str, field: str, address: str, needed: dict[str, str | bool]
) -> tuple[str, ClientSettings, tuple[Change, ...]]:
    """Return where Postfix asks, the settings that hold, and the files besides."""
    if wanted.door:
        return wanted.door, ClientSettings(), ()
    if read_state(wanted.settings) is None:
        needed = {field: address, **needed}
    settings, changes = plan_settings(wanted, needed)
    found: str = getattr(settings, field)
    what = {"milter": "milter client", "pipe": "SMTP filter"}[program]
    return found, settings, (*changes, *plan_unit(wanted, program, what, "postfix.service", found))


def _milter_place(address: str, main: str, master: str) -> str:
    kind, _, place = address.partition(":")
    if kind == "tcp":
        return f"inet:{place}"
    queue = parameter_of(main, "queue_directory") or "/var/spool/postfix"
    if place.startswith(f"{queue}/"):
        return f"unix:{place.removeprefix(f'{queue}/')}"  # relative: right within the chroot and without
    if any(_is_chrooted(master, service) for service in ("smtpd", "cleanup")):
        raise SetupError(
            f"Postfix runs chrooted (master.cf) and does not see {place}: use tcp:127.0.0.1:8891, or a socket "
            f"below {queue}"
        )
    return f"unix:{place}"


def _tcp_place(address: str) -> str:
    if not address.startswith("tcp:"):
        raise SetupError(f"{address}: for this mode Postfix needs tcp:ip:port")
    host, _, port = address.removeprefix("tcp:").rpartition(":")
    return f"[{host.strip('[]')}]:{port}"


def _host_port(address: str) -> str:
    return address.removeprefix("tcp:")


# --- main.cf


def _definitions(text: str, name: str) -> list[tuple[int, int]]:
    """Return the lines (start, end) of all definitions of a parameter, continuation lines included."""
    lines = text.splitlines(keepends=True)
    found: list[tuple[int, int]] = []
    begin = re.compile(rf"{re.escape(name)}[ \t]*=")
    at = 0
    while at < len(lines):
        if begin.match(lines[at]):
            end = at + 1
            last = end
            while end < len(lines) and (lines[end].startswith(("#", " ", "\t")) or not lines[end].strip()):
                end += 1
                if lines[end - 1][:1] in {" ", "\t"} and lines[end - 1].strip():
                    last = end
            found.append((at, last))
            at = last
        else:
            at += 1
    return found


def parameter_of(text: str, name: str) -> str:
    """Return the value of a parameter in main.cf, on one line; "" when it is not set."""
    places = _definitions(text, name)
    if not places:
        return ""
    start, end = places[-1]
    lines = [line for line in text.splitlines()[start:end] if not line.lstrip().startswith("#")]
    return " ".join(" ".join(lines).partition("=")[2].split())


def set_parameter(text: str, name: str, value: str) -> str:
    """Return main.cf with a parameter set: in the place of its last definition, which is the one that holds."""
    places = _definitions(text, name)
    line = f"{name} = {value}\n"
    if not places:
        return f"{_ended(text)}{line}"
    start, end = places[-1]
    lines = text.splitlines(keepends=True)
    return "".join((*lines[:start], line, *lines[end:]))


def add_to_list(text: str, name: str, entry: str, place: str) -> str:
    """Return main.cf with `entry` at the end of a list, unless `place` is in it."""
    value = parameter_of(text, name)
    if re.search(rf"(?<![\w./:-]){re.escape(place)}(?![\w./:-])", value):
        return text
    return set_parameter(text, name, f"{value}, {entry}" if value else entry)


def set_once(text: str, name: str, value: str) -> str:
    """Return main.cf with a parameter set that nobody else uses. SetupError."""
    there = parameter_of(text, name)
    if there == value:
        return text
    if there:
        raise SetupError(f"main.cf: {name} = {there} is another filter's; take that out first, or use --mode milter")
    return set_parameter(text, name, value)


# --- master.cf


def _services(text: str) -> list[tuple[int, int, list[str]]]:
    """Return (start line, end line, first line's fields) of every service."""
    lines = text.splitlines(keepends=True)
    found: list[tuple[int, int, list[str]]] = []
    for at, line in enumerate(lines):
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if found:
                start, _, fields = found[-1]
                found[-1] = (start, at + 1, fields)
        else:
            found.append((at, at + 1, line.split()))
    return found


def _is_chrooted(master: str, command: str) -> bool:
    return any(len(fields) > 7 and fields[7] == command and fields[4] == "y" for _, _, fields in _services(master))


def add_service(text: str, name: str, kind: str, rest: str) -> str:
    """Return master.cf with a service at its end. SetupError: there is another of that name."""
    wanted = f"{name} {kind} {rest}"
    for start, end, fields in _services(text):
        if fields[:2] == [name, kind]:
            if "".join(text.splitlines(keepends=True)[start:end]) == wanted:
                return text
            raise SetupError(f"master.cf has a service {name} already; take that out first")
    return f"{_ended(text)}{wanted}"


def add_options(text: str, name: str, kind: str, options: dict[str, str]) -> str:
    """Return master.cf with options behind a service. SetupError."""
    for start, end, fields in _services(text):
        if fields[:2] == [name, kind]:
            lines = text.splitlines(keepends=True)
            block = "".join(lines[start:end])
            new = []
            for option, value in options.items():
                found = re.search(rf"-o[ \t]+{option}[ \t]*=[ \t]*(\S*)", block)
                if found is None:
                    new.append(f"    -o {option}={value}\n")
                elif found[1] != value:
                    raise SetupError(f"master.cf: the service {name} has {option}={found[1]}; take that out first")
            lines[end - 1] = _ended(lines[end - 1])
            return "".join((*lines[:end], *new, *lines[end:]))
    raise SetupError(f"master.cf has no service {name} {kind}: name the one that takes mail in `smtp inet`")


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
