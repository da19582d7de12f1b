"""What a client program needs beside the mail system's own files: its settings, and a unit of the service manager."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gatepost.client.settings import ClientSettings, read_settings
from gatepost.client.setup.files import read_state
from gatepost.client.setup.values import Change, FileState, SetupError, Wanted

_UNIT: Final = """\
[Unit]
Description=Gatepost, {what} of the filtering server
After=network-online.target
Wants=network-online.target
Before={before}

[Service]
ExecStart={python} -I -m gatepost.client {program} -c {settings}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
DynamicUser=yes
RuntimeDirectory=gatepost-{program}
{more}PrivateTmp=yes
ProtectSystem=strict
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""


_MORE: Final = {"pipe": "StateDirectory=gatepost-pipe\n"}
"""Of single programs: where it is remembered who has a message already (`client.pipe`)."""


def plan_settings(wanted: Wanted, needed: Mapping[str, str | bool]) -> tuple[ClientSettings, tuple[Change, ...]]:
    """Return the settings of the client program, and the file with them when there is none yet.

    `needed`: what the program must be told here. SetupError: the file that is there says otherwise.
    """
    there = read_state(wanted.settings)
    if there is None:
        values = {**({"client_connect_to": list(wanted.servers)} if wanted.servers else {}), **needed}
        text = "".join(f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in values.items())
        content = f"# Settings of the filtering client: docs/manual/clients.md\n{text}".encode()
        changes = (Change(str(wanted.settings), None, new_file(content), ours=True),)
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return msgspec.convert(given, ClientSettings), changes
    read = read_settings(wanted.settings)
    if read.settings is None:
        raise SetupError("\n".join(str(each) for each in read.errors))
    wrong = [
        f"{name} = {msgspec.json.encode(value).decode()}"
        for name, value in needed.items()
        if getattr(read.settings, name) != value
    ]
    if wrong:
        raise SetupError(f"{wanted.settings} is there and says otherwise; set in it: {'; '.join(wrong)}")
    return read.settings, ()


def plan_unit(wanted: Wanted, program: str, what: str, before: str, listens: str) -> tuple[Change, ...]:
    """Return the unit that starts a client program, which listens there; () when none is wanted. SetupError."""
    if wanted.units is None:
        return ()
    kind, _, socket = listens.partition(":")
    if kind == "unix" and not socket.startswith(f"/run/gatepost-{program}/"):
        raise SetupError(
            f"{wanted.settings}: the client's unit cannot make {socket}: it has a user of its own, who writes below "
            f"/run/gatepost-{program} alone. Set a socket there, or tcp:ip:port"
        )
    path = wanted.units / f"gatepost-{program}.service"
    more = _MORE.get(program, "")
    text = _UNIT.format(
        what=what, before=before, python=sys.executable, program=program, settings=wanted.settings, more=more
    )
    there = read_state(path)
    if there is not None and there.content == text.encode():
        return ()
    return (Change(str(path), there, new_file(text.encode())),)


def start_words(wanted: Wanted, program: str) -> tuple[str, ...]:
    """Return how the program is started."""
    if wanted.units is None:
        command = f"{sys.executable} -I -m gatepost.client {program} -c {wanted.settings}"
        return (f"start the client when the host starts: {command}",)
    return ("systemctl daemon-reload", f"systemctl enable --now gatepost-{program}.service")


def new_file(content: bytes, mode: int = 0o644) -> FileState:
    """Return the state of a file that set-up makes."""
    return FileState(content, mode, os.geteuid(), os.getegid())


def edited(path: Path, there: FileState, text: str) -> tuple[Change, ...]:
    """Return the change that gives a file this text, () when it has it."""
    content = text.encode("utf-8", "surrogateescape")
    if content == there.content:
        return ()
    return (Change(str(path), there, msgspec.structs.replace(there, content=content)),)


def read_text(path: Path) -> tuple[FileState, str]:
    """Return a file that must be there, and its text. SetupError."""
    there = read_state(path)
    if there is None:
        raise SetupError(f"{path} is not there; name the directory of the configuration with --config")
    return there, there.content.decode("utf-8", "surrogateescape")
