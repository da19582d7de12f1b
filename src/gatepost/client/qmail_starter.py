"""Building the program that is installed as qmail-queue: `build_starter`. Called by set-up.

It has mode 4755, which scripts cannot have, so it is a few lines of C (`qmail_queue.c`) with the paths compiled in.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("qmail_queue.c")
MODE: Final = 0o4755
OWNER: Final = "qmailq"
GROUP: Final = "qmail"
_OPTIONS: Final = (
    "-O2",
    "-Wall",
    "-fstack-protector-strong",
    "-D_FORTIFY_SOURCE=2",
    "-fPIE",
    "-pie",
    "-Wl,-z,relro,-z,now",
)
_COMPILERS: Final = ("cc", "gcc", "clang")
_BUILD_S: Final = 60


class BuildError(Exception):
    """It cannot be built; the text says why, and what to do."""


def build_starter(target: Path, settings: Path, python: Path = Path(sys.executable)) -> None:
    """Write the program to `target`, with mode 0700. BuildError.

    `python`: the interpreter that has this package, `settings`: the file of client settings; both absolute, and
    changeable by nobody but root, for whoever can change them acts with the rights of the queue's owner.
    """
    command = plan_build(target, settings, python)
    for compiler in _COMPILERS:
        try:
            done = subprocess.run(  # noqa: S603 - fixed words, and paths that _literal lets pass
                [compiler, *command], capture_output=True, text=True, timeout=_BUILD_S, check=False, umask=0o077
            )
        except FileNotFoundError:
            continue
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"{compiler} failed: {error}") from None
        if done.returncode:
            raise BuildError(f"{compiler} failed: {done.stderr.strip()[:500]}")
        target.chmod(0o700)
        return
    raise BuildError(
        "there is no C compiler here: install one (package gcc and libc6-dev, or build-essential), "
        f"or build it on another host of this kind and copy it: cc {' '.join(map(_shown, command))}"
    )


def plan_build(target: Path, settings: Path, python: Path) -> tuple[str, ...]:
    """Return the compiler's arguments. BuildError: a path that cannot be compiled in."""
    return (
        *_OPTIONS,
        f"-DPYTHON={_literal(python)}",
        f"-DSETTINGS={_literal(settings)}",
        "-o",
        str(target),
        str(SOURCE),
    )


def _literal(path: Path) -> str:
    text = str(path)
    if not path.is_absolute() or not text.isprintable() or any(each in text for each in '"\\?%'):
        raise BuildError(f"{text!r} cannot be compiled in: it must be absolute, without quotes or backslashes")
    return f'"{text}"'


def _shown(word: str) -> str:
    return f"'{word}'" if '"' in word or " " in word else word
