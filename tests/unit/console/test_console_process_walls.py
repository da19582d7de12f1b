"""The walls around the console: a process that has entered them is asked to do what only an intruder would."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

SCRIPT = textwrap.dedent(
    """
    import importlib, json, os, signal, socket, subprocess, sys, threading
    from pathlib import Path

    from gatepost.console import walls

    secret, place = Path(sys.argv[1]), Path(sys.argv[2])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    bound = socket.socket()
    missing = walls.enter(os.getppid())

    def fork():
        if os.fork() == 0:
            os._exit(0)

    def thread():
        done = []
        one = threading.Thread(target=lambda: done.append(1))
        one.start()
        one.join()
        assert done

    acts = {
        "open a socket": lambda: socket.socket(),
        "open a local socket": lambda: socket.socket(socket.AF_UNIX),
        "connect": lambda: bound.connect(listener.getsockname()),
        "bind": lambda: bound.bind(("127.0.0.1", 0)),
        "run a program": lambda: subprocess.run(["/bin/true"]),
        "become a program": lambda: os.execv("/bin/true", ["/bin/true"]),
        "fork": fork,
        "read a file of the gateway": lambda: secret.read_bytes(),
        "list its directory": lambda: os.listdir(secret.parent),
        "read a file of the system": lambda: Path("/etc/passwd").read_bytes(),
        "look into a process": lambda: Path("/proc/self/mem").open("rb"),
        "write a new file": lambda: (place / "new").write_bytes(b"x"),
        "write its own code": lambda: Path(walls.__file__).open("ab"),
        "remove a file": lambda: secret.unlink(),
        "rename a file": lambda: secret.rename(place / "x"),
        "change a mode": lambda: os.chmod(secret, 0o777),
        "make a directory": lambda: os.mkdir(place / "d"),
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "shared memory": lambda: os.memfd_create("x"),
        "read its own code": lambda: Path(walls.__file__).read_bytes(),
        "import late": lambda: importlib.import_module("xml.dom.minidom"),
        "start a thread": thread,
        "answer a client": lambda: accepted.sendall(b"x"),
        "take another client": lambda: listener.settimeout(0.0) or listener.fileno(),
    }
    outcome = {}
    for name, act in acts.items():
        try:
            act()
            outcome[name] = True
        except OSError:
            outcome[name] = False
    print(json.dumps([list(missing), outcome]))
    """
)
ALLOWED = {"read its own code", "import late", "start a thread", "answer a client", "take another client"}


def test_nothing_is_left_but_answering(tmp_path: Path) -> None:
    secret = tmp_path / "accounts.json"
    secret.write_text("secret")
    (tmp_path / "open").mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(secret), str(tmp_path / "open")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    missing, outcome = json.loads(ended.stdout)
    assert missing == []
    assert {name for name, done in outcome.items() if done} == ALLOWED
    assert secret.read_text() == "secret"
    assert not list((tmp_path / "open").iterdir())
