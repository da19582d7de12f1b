"""Whether an address can stand in a command of ours. Used by `client` and `commands` only."""

import functools
import re

_QUOTED = r"\"(?:[ !#-\[\]-~]|\\[ -~])*\""
_SENDABLE = re.compile(rf"(?:{_QUOTED}|[!#-;=?-~]*)(?:@[!-;=?-~]+)?")


@functools.lru_cache(maxsize=1024)  # at most 1 MB of addresses; most recipients come again and again
def is_sendable(address: str) -> bool:
    """Tell whether an address can stand in a command without being able to end it.

    Weaker than the syntax for reception: `root` or an odd domain may leave, a control character, `<`, `>`, a stray
    blank or a non-ASCII character may not.
    """
    return _SENDABLE.fullmatch(address) is not None
