"""Two scanners of mail to compare with: a clamd, and an rspamd that asks it, both with signatures of the test files.

Started by `tools/detection_table.py` and `tests/peers/test_detection_tables.py` in a directory of their own, on the
loopback, and ended with the context. rspamd asks no network: what would need it is switched off.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"
"""The test string (68 bytes), joined here so that this file is not itself detected."""
PROGRAMS = ("clamd", "rspamd")
PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin"
START_S = 150.0
"""rspamd compiles its regular expressions when it starts."""
ANSWER_S = 60.0
OFFLINE_MODULES = (
    "rbl", "surbl", "spf", "dkim", "dkim_signing", "dmarc", "arc", "asn", "mx_check", "fuzzy_check", "whitelist",
    "greylist", "rspamd_update", "bayes_expiry", "neural", "ratelimit", "replies", "history_redis", "known_senders",
    "reputation", "url_redirector", "milter_headers", "phishing",
)  # fmt: skip
"""Modules of rspamd that ask the network or a store."""


class Peers(msgspec.Struct, frozen=True):
    """A clamd and perhaps an rspamd that listen, and their versions."""

    clamd: str
    """Path of clamd's socket."""
    rspamd: int
    """Port of rspamd's worker, 0 without one."""
    versions: tuple[str, str]

    def ask_clamd(self, content: bytes) -> str:
        """Return what clamd finds in a mail or a file, "" when that is nothing."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(ANSWER_S)
            sock.connect(self.clamd)
            sock.sendall(b"zINSTREAM\0" + struct.pack(">I", len(content)) + content + bytes(4))
            said = sock.recv(4096).rstrip(b"\0").decode()
        return said.removeprefix("stream: ").removesuffix(" FOUND") if said.endswith(" FOUND") else ""

    def ask_rspamd(self, content: bytes) -> str:
        """Return what rspamd's antivirus module finds in a mail, "" when that is nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rspamd, timeout=ANSWER_S)
        with contextlib.closing(connection):
            connection.request("POST", "/checkv2", content, {"IP": "203.0.113.9", "Helo": "a.example"})
            symbols = json.loads(connection.getresponse().read())["symbols"]
        return ", ".join(symbols.get("CLAM_VIRUS", {}).get("options", ()))


def missing_programs() -> tuple[str, ...]:
    """Return the names of the programs that are not installed."""
    return tuple(name for name in PROGRAMS if shutil.which(name, path=PLACES) is None)


@contextlib.contextmanager
def running_peers(place: Path, signatures: str, *, with_rspamd: bool = True) -> Iterator[Peers]:
    """Start both below `place`, or clamd alone. `signatures`: lines, one at least, of a ClamAV database of SHA-256
    hashes (.hsb); the test string has a signature of its own.
    """
    place.chmod(0o755)
    with contextlib.ExitStack() as stack:
        clamd = _start_clamd(place, signatures, stack)
        port = _start_rspamd(place, clamd, stack) if with_rspamd else 0
        yield Peers(clamd, port, (_version("clamd"), _version("rspamd")))


def _start_clamd(place: Path, signatures: str, stack: contextlib.ExitStack) -> str:
    databases = place / "db"
    databases.mkdir()
    (databases / "test.ndb").write_text(f"Test.Eicar:0:*:{EICAR.hex()}\n")
    (databases / "test.hsb").write_text(signatures + "\n")
    path = str(place / "clamd.sock")
    config = place / "clamd.conf"
    config.write_text(
        f"LocalSocket {path}\nLocalSocketMode 666\nDatabaseDirectory {databases}\nLogFile {place}/clamd.log\n"
        "Foreground yes\n"
    )
    _run([_path("clamd"), "-c", str(config)], place / "clamd.out", stack)
    _wait_for(lambda: _pings(path), "clamd")
    return path


def _start_rspamd(place: Path, clamd: str, stack: contextlib.ExitStack) -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    home = place / "rspamd"
    for each in ("db", "run", "log", "local.d"):
        (home / each).mkdir(parents=True)
    settings = dict.fromkeys((f"{name}.conf" for name in OFFLINE_MODULES), "enabled = false;\n")
    settings["options.inc"] = 'dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }\n'
    settings["worker-normal.inc"] = f'count = 1;\nbind_socket = "127.0.0.1:{port}";\n'
    settings["worker-proxy.inc"] = settings["worker-controller.inc"] = settings["worker-fuzzy.inc"] = (
        "enabled = false;\n"
    )
    settings["logging.inc"] = f'type = "file";\nfilename = "{home}/log/rspamd.log";\n'
    settings["antivirus.conf"] = (
        f'clamav {{ type = "clamav"; servers = "{clamd}"; symbol = "CLAM_VIRUS"; action = "reject"; '
        "scan_mime_parts = true; log_clean = false; max_size = 20000000; }\n"
    )
    for name, text in settings.items():
        (home / "local.d" / name).write_text(text)
    command = [_path("rspamd"), "-f", "-i", "-c", "/etc/rspamd/rspamd.conf", f"--var=LOCAL_CONFDIR={home}"]
    command += [f"--var={name}DIR={home}/{name.lower()}" for name in ("DB", "RUN", "LOG")]
    _run(command, home / "out", stack)
    _wait_for(lambda: _answers(port), "rspamd")
    return port


def _run(command: list[str], output: Path, stack: contextlib.ExitStack) -> None:
    log = stack.enter_context(output.open("wb"))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)


def _pings(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ANSWER_S)
        sock.connect(path)
        sock.sendall(b"zPING\0")
        return sock.recv(10) == b"PONG\0"


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    with contextlib.closing(connection):
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK


def _wait_for(ready: Callable[[], bool], name: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.05)
    raise SystemExit(f"{name} does not answer")


def _path(name: str) -> str:
    path = shutil.which(name, path=PLACES)
    if path is None:
        raise SystemExit(f"{name} is not installed")
    return path


def _version(name: str) -> str:
    said = subprocess.run([_path(name), "--version"], capture_output=True, text=True, check=False).stdout
    return f"{name} {found[0]}" if (found := re.search(r"\d[\d.]*", said)) else name
