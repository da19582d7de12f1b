"""`gatepost policy move` and `policy delete`: the order of the groups in a configuration file (row F-GRP-08).

The first group that fits a recipient wins, so their order is policy. Only whole blocks of lines are moved or taken out:
comments and everything else stay as they are. What comes of it is loaded before it takes the file's place; whatever
else than the order would change, nothing is written. A running gateway goes on as it was until `gatepost reload`.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, ConfigFile, complain
from gatepost.config.external import read_text
from gatepost.config.grouping import POLICY_GROUP, Group
from gatepost.config.load import load, load_text
from gatepost.config.schema import Config
from gatepost.storage.whole_file import rewrite_file

EXIT_NOT_WRITTEN: Final = 2
_HEADER: Final = re.compile(r"\s*\[")
_GROUP_HEADER: Final = re.compile(r"\s*(?:\[\[\s*group\s*\]\]|\[[^\]]*\bgroup:[^\]]*\])", re.IGNORECASE)
_COMMENT: Final = re.compile(r"\s*[#;]")


class OrderError(Exception):
    """It cannot be done; the text says why, and what can."""


def move(
    group: str,
    /,
    *,
    before: Annotated[str, cyclopts.Parameter(help="Group to put it in front of; empty: to the end.")] = "",
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Put a group in front of another one: of two that fit a recipient the first one wins.

    Parameters
    ----------
    group
        Name of the group.

    """
    return _change(conf_file, lambda groups: _moved(groups, group, before))


def delete(group: str, /, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Take a group out of the configuration: its mail is the next group's that fits it.

    Parameters
    ----------
    group
        Name of the group; the policy itself, for everybody else, cannot be deleted.

    """
    return _change(conf_file, lambda groups: _without(groups, group))


def _moved(names: Sequence[str], group: str, before: str) -> list[str]:
    _check_named(names, group, "moved")
    if before == POLICY_GROUP:
        before = ""
    rest = [name for name in names if name != group]
    if before and before not in rest:
        raise OrderError(f"there is no other group {before!r}; there are: {', '.join(rest) or 'none'}")
    place = rest.index(before) if before else len(rest)
    return [*rest[:place], group, *rest[place:]]


def _without(names: Sequence[str], group: str) -> list[str]:
    _check_named(names, group, "deleted")
    return [name for name in names if name != group]


def _check_named(names: Sequence[str], group: str, done: str) -> None:
    if group == POLICY_GROUP:
        raise OrderError(f"{POLICY_GROUP!r} is for everybody no group is for: it is the last, and cannot be {done}")
    if group not in names:
        raise OrderError(f"there is no group {group!r}; there are: {', '.join(names) or 'none'}")


def _change(conf_file: Path, order: Callable[[Sequence[str]], list[str]]) -> int:
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    try:
        names = [group.name for group in loaded.config.groups[:-1]]
        wanted = order(names)
        if wanted == names:
            print("nothing to change")
            return 0
        text = rearrange(read_text(str(conf_file)), names, wanted)
        _check(load_text(text, str(conf_file)).config, loaded.config, wanted)
    except OrderError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    try:
        rewrite_file(conf_file, text.encode())
    except OSError as error:
        return complain(f"{conf_file} cannot be written: {error.strerror}", EXIT_NOT_WRITTEN)
    print(f"groups now: {', '.join((*wanted, POLICY_GROUP))}; `gatepost reload` puts it to use")
    return 0


def rearrange(text: str, names: Sequence[str], wanted: Sequence[str]) -> str:
    """Return a configuration with the blocks of its groups, which are `names` in their order, as `wanted` says.

    Pure. A block begins with the comments right above its header and ends where the next section begins. Blocks take
    each other's places; the last places stay empty when there are fewer. OrderError when the groups are not all here.
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    starts = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    heads = [number for number in starts if _GROUP_HEADER.match(lines[number])]
    if len(heads) != len(names):
        raise OrderError("not all groups stand in this file itself, each in a section of its own: order them by hand")
    bounds = []
    for head in heads:
        end = next((number for number in starts if number > head), len(lines))
        bounds.append((_with_comments(lines, head), _with_comments(lines, end) if end < len(lines) else end))
    blocks = {name: "".join(lines[start:end]) for name, (start, end) in zip(names, bounds, strict=True)}
    written = [blocks[name] for name in wanted] + [""] * (len(names) - len(wanted))
    pieces, at = [], 0
    for (start, end), block in zip(bounds, written, strict=True):
        pieces += [*lines[at:start], block]
        at = end
    return "".join([*pieces, *lines[at:]])


def _with_comments(lines: Sequence[str], head: int) -> int:
    while head > 0 and _COMMENT.match(lines[head - 1]):
        head -= 1
    return head


def _check(changed: Config | None, before: Config, wanted: Sequence[str]) -> None:
    """Raise OrderError unless the groups are as wanted, and nothing else has changed."""
    by_name: dict[str, Group] = {group.name: group for group in before.groups}
    expected = msgspec.structs.replace(before, groups=tuple(by_name[name] for name in (*wanted, POLICY_GROUP)))
    if changed != expected:
        raise OrderError("the file is written so that more than the order would change: order the groups by hand")
