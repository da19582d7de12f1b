"""External files: `!include` and `Name=file:/path` (F-CONF-05…07). The only place besides `load` that opens files."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatepost.config.items import RULE_ITEMS
from gatepost.config.problem import Entry, Origin, Problem, Severity
from gatepost.config.schema import SECTION_BY_NAME, find_field, normalise_section

MAX_FILE_BYTES = 64 * 1024 * 1024
"""A list of addresses longer than this is a mistake, not a configuration."""

FILE_PREFIX = "file:"

_REFUSED = "values of this section may not come from an external file"


def read_text(path: str) -> str:
    """Return a file's text. Old files may not be UTF-8: then every byte is taken as the character of its number.

    OSError when it cannot be read, or is too long.
    """
    with Path(path).open("rb") as stream:
        raw = stream.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise OSError(f"longer than {MAX_FILE_BYTES // 1024**2} MiB")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def explain_os_error(error: OSError) -> str:
    """Return why a file could not be read, without its path."""
    return (error.strerror or str(error)).lower()


def _error(entry: Entry, what: str, mend: str, origin: Origin | None = None) -> Problem:
    place = origin or entry.origin
    return Problem(
        Severity.ERROR, place.file, place.line, normalise_section(entry.section), entry.name, what, mend=mend
    )


def _may_be_external(entry: Entry) -> bool:
    section = SECTION_BY_NAME.get(normalise_section(entry.section))
    return section is None or section.external


def expand_entries(entries: tuple[Entry, ...], file: str | None) -> Iterator[Entry | Problem]:
    """Yield the entries with every `file:` value replaced by the lines of its file, and what went wrong.

    `file`: the main file, what stands in another was included; None where nothing can be.
    """
    for entry in entries:
        if file is not None and entry.origin.file != file and not _may_be_external(entry):
            yield _error(entry, _REFUSED, "Write it into the main file")
            continue
        values = entry.value if isinstance(entry.value, list) else [entry.value]
        if not any(isinstance(value, str) and FILE_PREFIX in value for value in values):
            yield entry
            continue
        for value in values:
            single = msgspec.structs.replace(entry, value=value)
            if isinstance(value, str) and FILE_PREFIX in value:
                yield from _expand(single, value)
            else:
                yield single


def _expand(entry: Entry, value: str) -> Iterator[Entry | Problem]:
    field = find_field(normalise_section(entry.section), entry.name)
    words = value.split()
    if value.strip().startswith(FILE_PREFIX):
        before, path, after = "", value.strip().removeprefix(FILE_PREFIX).strip(), ""
    elif field is not None and field.parameter.item in RULE_ITEMS:
        operand = next((word for word in words if word.startswith(FILE_PREFIX)), None)
        if operand is None:
            yield entry
            return
        before, _, after = value.partition(operand)
        path = operand.removeprefix(FILE_PREFIX)
    else:
        yield entry
        return
    if not _may_be_external(entry):
        yield _error(entry, _REFUSED, "Write the value itself")
        return
    if not Path(path).is_absolute():
        yield _error(entry, f"external file {path!r} is not an absolute path", "Write the path from / on")
        return
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        yield _error(entry, f"external file {path} cannot be read: {reason}", "Correct the path or its permissions")
        return
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        origin = Origin(path, number)
        if line.strip():
            expanded = msgspec.structs.replace(entry, value=f"{before}{line.strip()}{after}", origin=origin)
            if after and FILE_PREFIX in after:
                yield from _expand(expanded, str(expanded.value))
            else:
                yield expanded
        else:
            yield _error(entry, "blank line in an external file stands for an empty value", "Remove the line", origin)
