"""Set-up of Exim: its content scanning asks doors of the server (`scan`), or mail goes through the pipe client.

Known are Debian's two forms, files below `conf.d` or `exim4.conf.template`, and a configuration in one plain file. When
no server answers, mail is deferred: Exim's scanning does so by itself, the pipe client by its settings.
No code is compiled into Exim (row F-CLI-05).
"""

import pwd
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gatepost.client.setup.files import read_state
from gatepost.client.setup.service import edited, new_file, plan_settings, read_text
from gatepost.client.setup.values import Change, Plan, SetupError, Wanted

MODES: Final = ("scan", "pipe")
BEGIN: Final = "# gatepost: begin"
END: Final = "# gatepost: end"
_PLAIN: Final = ("exim4.conf", "exim.conf", "configure")
"""Names of a configuration in one file, the first that is there; Debian's `exim4.conf` replaces all its others."""
_USERS: Final = ("Debian-exim", "exim", "mailnull")
GIVEN_BACK: Final = "-oMr gatepost -oi"
"""Options that give filtered mail back: the router knows it by the protocol, which only trusted users can set."""
_SECTION: Final = {"router": "begin routers", "transport": "begin transports"}

MALWARE: Final = """\
  deny
    malware = *
    message = This message contains malware ($malware_name)
"""
# What is refused is asked about first: a door that is away defers mail at `deny`, and would be passed over at `warn`.
SPAM: Final = """\
  deny
    spam = nobody:true
    condition = ${if eq{$spam_action}{reject}}
    message = This message was classified as spam
  defer
    condition = ${if eq{$spam_action}{soft reject}}
    message = This message could not be filtered, try again later
  warn
    remove_header = X-Spam-Score : X-Spam-Action
    add_header = X-Spam-Score: $spam_score ($spam_bar)
    add_header = X-Spam-Action: $spam_action
"""
ROUTER: Final = """\
gatepost_filter:
  debug_print = "R: gatepost_filter for $local_part@$domain"
  driver = accept
  condition = ${if eq{$received_protocol}{gatepost}{no}{yes}}
  no_verify
  no_address_test
  transport = gatepost_filter
"""
# Exim lets nothing that a stranger has said stand in a command line: sender and client come by the environment. Only
# exit status 69 is a refusal, all else that may happen to a program is temporary.
TRANSPORT: Final = """\
gatepost_filter:
  debug_print = "T: gatepost_filter for $pipe_addresses"
  driver = pipe
  command = COMMAND -- --message --environment -- $pipe_addresses
  environment = <; CLIENT_ADDRESS=$sender_host_address; CLIENT_HELO=$sender_helo_name
  user = USER
  batch_max = 100
  message_prefix =
  message_suffix =
  home_directory = /
  current_directory = /
  temp_errors = 1 : 2 : 64 : 65 : 66 : 70 : 71 : 72 : 73 : 74 : 75 : 76 : 78 : 126 : 127
  timeout = 10m
  timeout_defer
  freeze_signal
  return_fail_output
  log_fail_output
  log_defer_output
"""


def plan_exim(wanted: Wanted) -> Plan:
    """Return what set-up changes. SetupError."""
    mode = wanted.mode or "scan"
    if mode == "scan":
        if not wanted.door and not wanted.clamd:
            raise SetupError("--mode scan: name the server's doors: --door tcp:ip:port (rspamd), --clamd tcp:ip:port")
        parts = {
            "main": _scan_options(wanted),
            "acl": _scan_acl(wanted),
        }
        changes: tuple[Change, ...] = ()
    elif mode == "pipe":
        needed: dict[str, str | bool] = {
            "pipe_outgoing_addr": f"{_program()} {GIVEN_BACK}",
            # A run that fails half way is repeated for all, and nobody remembers who had his copy: one for all, then.
            "pipe_multiple_messages_allowed": False,
        }
        _, changes = plan_settings(wanted, needed)
        command = f"{sys.executable} -I -m gatepost.client pipe -c {wanted.settings}"
        parts = {"router": ROUTER, "transport": TRANSPORT.replace("COMMAND", command).replace("USER", _user())}
    else:
        raise SetupError(f"--mode {mode}: Exim has {', '.join(MODES)}")
    split = _is_split(wanted.config)
    changes = (*changes, *(_plan_split if split else _plan_single)(wanted.config, parts))
    then = ("update-exim4.conf",) if _is_debian(wanted.config) else ()
    if mode == "scan" and wanted.clamd.startswith("unix:"):
        then = (
            'Exim names files at a local socket: the door needs scan_paths = ["/var/spool/exim4/scan"]',
            f"have the gateway's user read them: adduser gatepost {_user()}, and restart the gateway",
            *then,
        )
    return Plan(
        system="exim", mode=mode, changes=changes, then=(*then, "restart Exim: its service, or kill -HUP of the daemon")
    )


def _scan_options(wanted: Wanted) -> str:
    lines = []
    if wanted.door:
        lines.append(f"spamd_address = {_place(wanted.door)} variant=rspamd\n")
    if wanted.clamd:
        lines.append(f"av_scanner = clamd:{_place(wanted.clamd)}\n")
    return "".join(lines)


def _scan_acl(wanted: Wanted) -> str:
    return (MALWARE if wanted.clamd else "") + (SPAM if wanted.door else "")


def _place(address: str) -> str:
    kind, _, place = address.partition(":")
    if kind == "unix":
        return place
    host, _, port = place.rpartition(":")
    if host.startswith("["):
        raise SetupError(f"{address}: colons divide Exim's lists; use an IPv4 address or a local socket")
    return f"{host} {port}"


def _user() -> str:
    """Return who Exim runs as, whose word on the protocol of a message it believes."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((each for each in _USERS if each in known), _USERS[0])


def _program() -> str:
    return next((each for each in ("/usr/sbin/exim4", "/usr/sbin/exim") if Path(each).exists()), "/usr/sbin/exim4")


def _is_debian(config: Path) -> bool:
    return not any((config / name).exists() for name in _PLAIN) and (
        (config / "conf.d").is_dir() or (config / "exim4.conf.template").exists()
    )


def _is_split(config: Path) -> bool:
    if not _is_debian(config):
        return False
    choices = read_state(config / "update-exim4.conf.conf")
    if choices is None:
        return not (config / "exim4.conf.template").exists()
    return re.search(rb"^\s*dc_use_split_config='?true", choices.content, re.MULTILINE) is not None


def _plan_split(config: Path, parts: dict[str, str]) -> tuple[Change, ...]:
    changes: list[Change] = []
    names = {"main": "01_gatepost", "router": "050_gatepost", "transport": "50_gatepost"}
    for section, text in parts.items():
        if section == "acl":
            for path in sorted((config / "conf.d/acl").glob("*")):
                state, old = read_text(path)
                new = into_acl(old, "acl_check_data", text)
                if new is not None:
                    changes += edited(path, state, new)
                    break
            else:
                raise SetupError(f"{config}/conf.d/acl has no acl_check_data: put this into your ACL for DATA:\n{text}")
        else:
            path = config / "conf.d" / section / names[section]
            there = read_state(path)
            content = f"{BEGIN}\n{text}{END}\n".encode()
            if there is None or there.content != content:
                changes.append(Change(str(path), there, new_file(content)))
    return tuple(changes)


def _plan_single(config: Path, parts: dict[str, str]) -> Sequence[Change]:
    name = next((each for each in (*_PLAIN, "exim4.conf.template") if (config / each).exists()), "")
    if not name:
        raise SetupError(f"{config} has no configuration of Exim; name its directory with --config")
    state, text = read_text(config / name)
    acl = re.search(r"^\s*acl_smtp_data\s*=\s*(\w+)\s*$", text, re.MULTILINE)
    label = "acl_check_data" if acl is None or acl[1].isupper() else acl[1]
    for section, part in parts.items():
        new = into_main(text, part) if section == "main" else None
        if section == "acl":
            new = into_acl(text, label, part)
        elif section in _SECTION:
            new = behind(text, rf"^{_SECTION[section]}[ \t]*\n", part)
        if new is None:
            raise SetupError(f"{config / name} has no place for this, put it in by hand:\n{part}")
        text = new
    return edited(config / name, state, text)


def into_main(text: str, part: str) -> str | None:
    """Return the configuration with options at the end of its main section. SetupError: one is set already."""
    first = re.search(r"^begin[ \t]", text, re.MULTILINE)
    head = text[: first.start()] if first else text
    block = _block(part)
    if block in head:
        return text
    for line in part.splitlines():
        name = line.split("=")[0].strip()
        if there := re.search(rf"^\s*{name}\s*=.*", head, re.MULTILINE):
            raise SetupError(f"{there[0].strip()}: is another scanner's; take that out first")
    return f"{head}{'' if head.endswith(chr(10)) else chr(10)}{block}{text[len(head) :]}"


def into_acl(text: str, label: str, part: str) -> str | None:
    """Return the configuration with statements at the beginning of an ACL, None when there is no such ACL."""
    return behind(text, rf"^{label}:[ \t]*\n", part)


def behind(text: str, pattern: str, part: str) -> str | None:
    """Return the text with a block behind what matches, None when nothing does."""
    block = _block(part)
    if block in text:
        return text
    found = re.search(pattern, text, re.MULTILINE)
    return None if found is None else f"{text[: found.end()]}{block}{text[found.end() :]}"


def _block(part: str) -> str:
    return f"{BEGIN}\n{part}{END}\n"
