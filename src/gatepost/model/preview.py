"""A message as it is shown to an administrator: what a filter makes of one that is kept (`ScanOptions.preview`).

Made by `filter.preview`, bounded again by `filter.preview_bounds` (it crosses a trust boundary), shown by the console
in a frame that can neither load nor run anything.
"""

import msgspec


class PreviewPart(msgspec.Struct, frozen=True, array_like=True):
    """One part of the message that is no mere container."""

    name: str
    """Decoded file name, "" when it has none."""
    content_type: str
    """As declared, in lower case."""
    size: int
    """Decoded bytes."""
    found: str = ""
    """Kind by content (`antivirus.kinds.Kind`), "" when it is none of them."""
    shown: bool = False
    """It is the text shown, or a part of it."""
    nested: bool = False
    """It belongs to a message inside the message."""


class Preview(msgspec.Struct, frozen=True, array_like=True):
    """What is shown. Texts may hold anything a stranger can write; `html` has been through `mime.sanitise`."""

    fields: tuple[tuple[str, str], ...] = ()
    """Header fields in order: name as written, decoded value."""
    html: str = ""
    """The message as its HTML shows it; "" when it has none."""
    text: str = ""
    """The message as its plain text says it; "" when it has none."""
    source: str = ""
    """The beginning of the message as it came; what is no UTF-8 is shown as U+FFFD."""
    parts: tuple[PreviewPart, ...] = ()
    links: tuple[str, ...] = ()
    """Where its HTML would lead, distinct, in order."""
    remote: int = 0
    """Pictures that would have been fetched from elsewhere."""
    cut: bool = False
    """The message goes on: a limit ended what is shown."""
    trouble: str = ""
    """What could not be read, in words."""
