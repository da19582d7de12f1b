"""Whether expressions of rules can be compiled in time: some, short as they are, would take hours.

Called by `config.profiles_check` before it compiles expressions itself. Those that may be dear are compiled in a
process of their own, which the kernel ends when its time is up. Nothing else is done there.
"""

import contextlib
import functools
import json
import math
import resource
import subprocess
import sys
import time
from typing import Final

from gatepost.config.profiles_patterns import PatternError, Patterns

COMPILE_S: Final = 4
"""CPU seconds for all dear expressions of a set, one by one and then together: a relay that takes the set into use
compiles them again, and does nothing else meanwhile.
"""
MEMORY_BYTES: Final = 1024**3
WAIT_S: Final = 60.0
"""Until the process is given up, however busy the machine is."""

Groups = tuple[tuple[str, ...], ...]


def is_dear(text: str) -> bool:
    """Whether it may be: a repetition grows with its number, and what speaks of all scripts by far more."""
    return "{" in text or not text.isascii()


@functools.lru_cache(maxsize=16)
def count_in_time(groups: Groups) -> int:
    """Return how many of these groups of expressions, from the first, can be compiled in time, sound or not. OSError:
    there is no process to try it.
    """
    if not groups:
        return 0
    try:
        tried = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-I", "-m", "gatepost.config.profiles_trial", str(COMPILE_S)],
            input=json.dumps(groups).encode(),
            capture_output=True,
            timeout=WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return len(error.stdout or b"")
    return len(tried.stdout)


def main(limit_s: int) -> None:
    """Compile what comes on standard input, and write a byte for each group that is done."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    end_s = math.ceil(time.process_time()) + limit_s  # what the start of the interpreter has used is no expression's
    resource.setrlimit(resource.RLIMIT_CPU, (end_s, end_s))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for group in json.loads(sys.stdin.buffer.read()):
        with contextlib.suppress(PatternError):  # what is wrong with it is told by who asks
            Patterns(dict(enumerate(group)))
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
