"""What console and API may not set: commands, paths outside the state directory, references to external files, and
values that are no configuration. Pure but for resolving links of paths.

Called by `config.editing` users for every value before anything is edited: a form that does not offer a parameter is no
guard, this is. `Refusal` texts are for people.
"""

import os
import re

from gatepost.config.external import FILE_PREFIX
from gatepost.config.items import RULE_ITEMS, is_host_and_port
from gatepost.config.parameter import Field, Guard, Kind

TEXT_LIMIT = 16 * 1024
"""Characters of one text or element: the longest meant one is a line of a list with a note."""
ELEMENTS_LIMIT = 100_000
"""Elements of one list."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
"""Line ends above all: no parameter has a value of several lines."""
_URL = re.compile(r"(?:https?|icaps?)://[^\s/]+", re.IGNORECASE)
_WORDS = frozenset(("", "syslog"))
OWN_FILES = frozenset(
    {
        "accounts.json",
        "audit",
        "bases-cache",
        "bypass.json",
        "configuration",
        "delivered",
        "format.json",
        "greylist.db",
        "learn",
        "learned",
        "lists.json",
        "migrations",
        "own-spam",
        "own-texts",
        "paused.json",
        "problems.json",
        "rules",
        "rules-history",
        "rules.before-import",
        "run",
        "taken-over-keys",
        "told",
        "tracking",
        "updater",
        "user-quarantine",
    }
)
"""What the gateway itself keeps in the state directory, some of it secret: a log or a statistics file in the place of
the accounts or of the audit log, or a template made of them, is nobody's wish.
"""


def find_refusal(field: Field, value: object, state_path: str) -> str:
    """Return why console and API may not set a parameter to this, "" when they may."""
    if field.parameter.guard is Guard.FILE:
        return "a command, or what reaches as far: only the configuration file itself can set it"
    elements = value if isinstance(value, list | tuple) else [value]
    if len(elements) > ELEMENTS_LIMIT:
        return f"more than {ELEMENTS_LIMIT} elements"
    for element in elements:
        if isinstance(element, str):
            refusal = _refuse_text(field, element, state_path)
            if refusal:
                return refusal
    return ""


def _refuse_text(field: Field, text: str, state_path: str) -> str:
    if len(text) > TEXT_LIMIT:
        return f"longer than {TEXT_LIMIT} characters"
    if _CONTROL.search(text):
        return "contains a line end or another control character"
    if names_file(field, text):
        return "an external file: only the configuration file itself can name one"
    if field.parameter.guard is Guard.STATE:
        if not is_inside(field, text, state_path):
            return f"a path outside the state directory {state_path}: only the configuration file itself can set it"
        if own := _find_own(text, state_path):
            return f"the gateway keeps something of its own in {own}: only the configuration file itself can name it"
    return ""


def names_file(field: Field, text: str) -> bool:
    """Tell whether a value stands for the lines of an external file (`config.external`)."""
    if text.strip().startswith(FILE_PREFIX):
        return True
    return field.parameter.item in RULE_ITEMS and any(word.startswith(FILE_PREFIX) for word in text.split())


def is_inside(field: Field, text: str, state_path: str) -> bool:
    """Tell whether a path lies below the state directory, or a text that may be a path is none."""
    if text.strip() in _WORDS:
        return True
    if field.parameter.kind is not Kind.PATH and (_URL.match(text) or ("/" not in text and is_host_and_port(text))):
        return True
    if not text.startswith("/"):
        return False
    state = os.path.realpath(state_path)
    return os.path.realpath(text).startswith(f"{state.rstrip('/')}/")


def _find_own(text: str, state_path: str) -> str:
    """Return the file or directory of the gateway's own that a path leads to or into, "" when it does not."""
    state = os.path.realpath(state_path)
    inside = os.path.realpath(text).removeprefix(f"{state.rstrip('/')}/") if text.startswith("/") else ""
    first = inside.partition("/")[0]
    return f"{state}/{first}" if first in OWN_FILES or first.startswith(("mta-sts-", "reputation-")) else ""
