"""Text of strangers, as a terminal, a log or a comment may show it: `printable`."""


def printable(text: str) -> str:
    """Return `text` with a question mark for whatever moves a cursor, breaks a line or cannot be seen."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
