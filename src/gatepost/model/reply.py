"""SMTP replies as values: code, enhanced code (RFC 3463) and text."""

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """One reply, to give or as received. `lines` holds the text lines without codes."""

    code: int
    enhanced: str
    lines: tuple[str, ...]
    closes: bool = False
    """The connection is to be closed after this reply (221, 421)."""

    @property
    def text(self) -> str:
        """All text in one line."""
        return " ".join(self.lines)

    @property
    def positive(self) -> bool:
        """2xx or 3xx."""
        return self.code < 400

    @property
    def permanent(self) -> bool:
        """5xx: trying again is pointless (RFC 5321 §4.2.1)."""
        return self.code >= 500


def reply(code: int, enhanced: str, *lines: str, closes: bool = False) -> Reply:
    """Build a reply; `enhanced` may be "" for the replies that carry none (220, 354, EHLO)."""
    return Reply(code, enhanced, lines, closes)
