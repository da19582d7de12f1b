"""Set-up of qmail: `qmail-queue` becomes `qmail-queue.orig`, a small program that starts the client takes its place.

The program is compiled here, with the paths of this installation in it (`client/qmail_queue.c`).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import gatepost.client
from gatepost.client.setup.files import read_state
from gatepost.client.setup.service import plan_settings
from gatepost.client.setup.values import Change, FileState, Plan, SetupError, Wanted

MODES: Final = ("queue",)
MODE: Final = 0o4755
"""Of the program (specification antispam.md §13): it gets the rights of the queue, as the original had them."""
SOURCE: Final = Path(gatepost.client.__file__).with_name("qmail_queue.c")
_COMPILE_S: Final = 60


def plan_qmail(wanted: Wanted) -> Plan:
    """Return what set-up changes. `wanted.config` is the directory of qmail's programs. SetupError."""
    if wanted.mode not in {"", *MODES}:
        raise SetupError(f"--mode {wanted.mode}: qmail has {', '.join(MODES)}")
    path = wanted.config / "qmail-queue"
    renamed = wanted.config / "qmail-queue.orig"
    there, original = read_state(path), read_state(renamed)
    if there is None:
        raise SetupError(f"{path} is not there; name the directory of qmail's programs with --config")
    _, changes = plan_settings(wanted, {"q_mail_original_queue": str(renamed)})
    program = build_program(wanted.settings)
    if original is not None:
        if there.content == program:
            return Plan(system="qmail", mode="queue", changes=changes)
        raise SetupError(f"{renamed} is there already, of somebody else's set-up; take that back first")
    new = FileState(program, MODE, there.uid, there.gid)
    # In this order there is a whole qmail-queue at every moment.
    return Plan(
        system="qmail",
        mode="queue",
        changes=(*changes, Change(str(renamed), None, there), Change(str(path), there, new)),
        then=("send a message through qmail-inject and look for it in the log",),
    )


def build_program(settings: Path) -> bytes:
    """Return the program that takes the place of qmail-queue. SetupError."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise SetupError(f"there is no C compiler here: install gcc, or compile {SOURCE} as its head says")
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory, "qmail-queue")
        paths = [f'-DPYTHON="{_quoted(sys.executable)}"', f'-DSETTINGS="{_quoted(str(settings))}"']
        command = [compiler, "-O2", "-Wall", "-Werror", "-Wl,--build-id=none", *paths, "-o", str(made), str(SOURCE)]
        try:
            done = subprocess.run(  # noqa: S603 - a compiler found on PATH, fixed arguments, quoted paths
                command,
                capture_output=True,
                text=True,
                timeout=_COMPILE_S,
                check=False,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SetupError(f"{compiler} cannot be used: {error}") from None
        if done.returncode:
            raise SetupError(f"{SOURCE} cannot be compiled:\n{done.stderr}")
        return made.read_bytes()


def _quoted(text: str) -> str:
    if not text.isprintable() or '"' in text or "\\" in text:
        raise SetupError(f"{text!r}: such a path cannot be compiled in")
    return text
