"""What readers of documents hand over: `Document`. Made by `rtf`, `word` and `pdf`; taken by `parts`."""

from typing import Final

import msgspec

DOCUMENT_TEXT: Final = 128 * 1024
"""Characters of one document that are read: as much as one mail may say in all, halved."""
URLS_LIMIT: Final = 500
"""Links of one document."""


class Document(msgspec.Struct):
    """What a document says."""

    visible: str = ""
    hidden: str = ""
    urls: list[str] = []
    """Addresses of links, which need not stand in the text."""
