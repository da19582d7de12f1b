"""`gatepost spam sample` and `gatepost spam image`: the administrator's own sample messages and images.

They are in force after `compile`, which has a running gateway take them. Exit codes: 0 done; 1 wrong options; 2 a file
cannot be read or written; 3 it is nothing that can be known again; 4 compiled, but the running gateway did not take it.
"""

import re
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.antispam.view import build_view
from gatepost.cli.choice import Yes, agreed
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, complain, print_json
from gatepost.config.load import load
from gatepost.control.socket import ControlError, call
from gatepost.feeds.own_items import OwnError, Sort, make_name
from gatepost.feeds.own_store import OwnStore
from gatepost.master.paths import Paths
from gatepost.mime.structure import parse
from gatepost.model.foreign_text import printable
from gatepost.model.spam import SpamOptions

EXIT_BAD_OPTIONS = 1
EXIT_UNREADABLE = 2
EXIT_NOT_SOUND = 3
EXIT_NOT_IN_FORCE = 4

_FIELD = re.compile(rb"(?:From |[!-9;-~]{1,80}:)")
"""How a mail begins, and a text does not."""

Category = Annotated[str, cyclopts.Parameter(name="--category", help="of mail that is like it: L1/L2/L3")]
Name = Annotated[str, cyclopts.Parameter(name="--name", help="under which it is kept; default: the file's")]
Replace = Annotated[bool, cyclopts.Parameter(name="--replace", negative="", help="put it in the place of another")]

sample = cyclopts.App(name="sample", help="Own sample messages: add, list, remove, compile.")
image = cyclopts.App(name="image", help="Own known images: add, list, remove, compile.")


@sample.command(name="add")
def add_sample(
    file: Path,
    /,
    *,
    category: Category = "spam/own",
    name: Name = "",
    replace: Replace = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Keep the text of a message as a sample; mail that holds most of it gets its category after `compile`.

    Categories below `spam` make spam of it, those below `other` are for rules only, all else makes probable spam.

    Parameters
    ----------
    file
        A message (.eml), or plain text in UTF-8.

    """
    return _add(Sort.SAMPLE, file, name, category, conf_file, replace=replace)


@image.command(name="add")
def add_image(
    file: Path,
    /,
    *,
    category: Category = "spam/image",
    name: Name = "",
    replace: Replace = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Keep a picture; mail with a copy of it, scaled, noisy or cropped a little, gets its category after `compile`.

    Parameters
    ----------
    file
        The picture: PNG, JPEG, GIF, BMP or WebP.

    """
    return _add(Sort.IMAGE, file, name, category, conf_file, replace=replace)


@sample.command(name="list")
def list_samples(*, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """List the samples: name, category, bytes."""
    return _list(Sort.SAMPLE, conf_file, as_json=as_json)


@image.command(name="list")
def list_images(*, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """List the images: name, category, bytes."""
    return _list(Sort.IMAGE, conf_file, as_json=as_json)


@sample.command(name="remove")
def remove_sample(name: str, /, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Remove a sample, having asked; after `compile` it counts no more.

    Parameters
    ----------
    name
        As `list` shows it.

    """
    return _remove(Sort.SAMPLE, name, conf_file, yes=yes)


@image.command(name="remove")
def remove_image(name: str, /, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Remove an image, having asked; after `compile` it counts no more.

    Parameters
    ----------
    name
        As `list` shows it.

    """
    return _remove(Sort.IMAGE, name, conf_file, yes=yes)


@sample.command(name="compile")
@image.command(name="compile")
def compile_all(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Put samples and images as they are now in force; a running gateway takes them at once."""
    paths = _paths(conf_file)
    if isinstance(paths, int):
        return paths
    try:
        counts = OwnStore(paths.own_spam).compile()
    except OwnError as error:
        return complain(f"nothing changed: {error}", EXIT_NOT_SOUND)
    except OSError as error:
        return complain(f"nothing changed: {error}", EXIT_UNREADABLE)
    print(f"{counts[Sort.SAMPLE]} sample(s), {counts[Sort.IMAGE]} image(s) compiled")
    if not paths.control.exists():
        print("no gateway runs with this configuration: in force when it starts")
        return 0
    try:
        print(call(paths.control, "reloadbases"))
    except ControlError as error:
        return complain(str(error), EXIT_NOT_IN_FORCE)
    return 0


def _add(sort: Sort, file: Path, name: str, category: str, conf_file: Path, *, replace: bool) -> int:
    paths = _paths(conf_file)
    if isinstance(paths, int):
        return paths
    name = name or make_name(file)
    try:
        content = file.read_bytes()
        if sort is Sort.SAMPLE:
            content = _read_text(content)
        OwnStore(paths.own_spam).add(sort, name, category, content, replace=replace)
    except OwnError as error:
        return complain(str(error), EXIT_NOT_SOUND)
    except OSError as error:
        return complain(f"{error.filename or file}: {error.strerror}", EXIT_UNREADABLE)
    print(f"{name} ({category}) is kept; `compile` puts it in force")
    return 0


def _read_text(content: bytes) -> bytes:
    """Return the text of a message as filters see it, or of a text file."""
    if _FIELD.match(content) is None:
        return content
    if content.startswith(b"From "):
        content = content.partition(b"\n")[2]
    return build_view(parse(content), SpamOptions()).body.encode("utf-8", "replace")


def _list(sort: Sort, conf_file: Path, *, as_json: bool) -> int:
    paths = _paths(conf_file)
    if isinstance(paths, int):
        return paths
    try:
        items = OwnStore(paths.own_spam).items(sort)
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}", EXIT_UNREADABLE)
    if as_json:
        print_json(items)
    else:
        for item in items:
            print(f"{item.name}  {item.category}  {item.size}")
    return 0


def _remove(sort: Sort, name: str, conf_file: Path, *, yes: bool) -> int:
    paths = _paths(conf_file)
    if isinstance(paths, int):
        return paths
    own = OwnStore(paths.own_spam)
    try:
        there = any(item.name == name for item in own.items(sort))
        if there and not agreed(f"remove {printable(name)}? it is kept nowhere else", yes=yes):
            return EXIT_BAD_OPTIONS
        own.remove(sort, name)
    except OwnError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}", EXIT_UNREADABLE)
    print(f"{name} is removed; `compile` has it count no more")
    return 0


def _paths(conf_file: Path) -> Paths | int:
    loaded = load(conf_file)
    if not loaded.state_path:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    return Paths(loaded.state_path)
