"""`gatepost policy move` and `policy delete`: the order of the groups in a configuration file (row F-GRP-08).

The first group that fits a recipient wins, so their order is policy. Only whole blocks of lines are moved or taken out
(`config.editing`): comments and everything else stay as they are. A running gateway goes on as it was until
`gatepost reload`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import cyclopts

from gatepost.cli.choice import Yes, agreed
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, ConfigFile, complain
from gatepost.config.editing import Change, EditError, Verb, edit
from gatepost.config.file_text import decode_file
from gatepost.config.grouping import POLICY_GROUP
from gatepost.config.load import load, load_text
from gatepost.model.foreign_text import printable
from gatepost.storage.whole_file import rewrite_file

EXIT_NOT_WRITTEN: Final = 2


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


def delete(group: str, /, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Take a group out of the configuration, having asked: its mail is the next group's that fits it.

    Parameters
    ----------
    group
        Name of the group; the policy itself, for everybody else, cannot be deleted.

    """

    def plan(groups: Sequence[str]) -> Change:
        change = _without(groups, group)
        if not agreed(f"take the group {printable(group)} with all its settings out of {conf_file}?", yes=yes):
            raise SystemExit(EXIT_BAD_OPTIONS)
        return change

    return _change(conf_file, plan)


def _moved(names: Sequence[str], group: str, before: str) -> Change:
    _check_named(names, group, "moved")
    if before == POLICY_GROUP:
        before = ""
    rest = [name for name in names if name != group]
    if before and before not in rest:
        raise OrderError(f"there is no other group {before!r}; there are: {', '.join(rest) or 'none'}")
    place = rest.index(before) if before else len(rest)
    return Change("group", verb=Verb.MOVE, item=names.index(group), to=place)


def _without(names: Sequence[str], group: str) -> Change:
    _check_named(names, group, "deleted")
    return Change("group", verb=Verb.REMOVE, item=names.index(group))


def _check_named(names: Sequence[str], group: str, done: str) -> None:
    if group == POLICY_GROUP:
        raise OrderError(f"{POLICY_GROUP!r} is for everybody no group is for: it is the last, and cannot be {done}")
    if group not in names:
        raise OrderError(f"there is no group {group!r}; there are: {', '.join(names) or 'none'}")


def _change(conf_file: Path, plan: Callable[[Sequence[str]], Change]) -> int:
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    try:
        change = plan([group.name for group in loaded.config.groups[:-1]])
        if change.verb is Verb.MOVE and change.item == change.to:
            print("nothing to change")
            return 0
        file = decode_file(conf_file.read_bytes())
        text = edit(file.text, str(conf_file), [change])
        changed = load_text(text, str(conf_file)).config
        if changed is None:
            return complain("without it the file could not be used: change it by hand", EXIT_BAD_OPTIONS)
        rewrite_file(conf_file, file.encode(text))
    except (OrderError, EditError) as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    except OSError as error:
        return complain(f"{conf_file} cannot be written: {error.strerror}", EXIT_NOT_WRITTEN)
    print(f"groups now: {', '.join(group.name for group in changed.groups)}; `gatepost reload` puts it to use")
    return 0
