"""A configuration file's bytes as text, and back in the same encoding: `decode_file`. Pure.

Called by whoever edits the file (`master.configuration`, `gatepost config set`, `gatepost policy move`).
"""

import hashlib

import msgspec

_BOM = b"\xef\xbb\xbf"


class FileText(msgspec.Struct, frozen=True):
    """The text of a file, and how it is written."""

    text: str
    encoding: str = "utf-8"
    bom: bool = False

    @property
    def digest(self) -> str:
        """What a change names to be sure that it is about this text."""
        return digest_of(self.text)

    def encode(self, text: str) -> bytes:
        """Return another text as this file's bytes. ValueError: it holds what its encoding has no sign for."""
        try:
            return (_BOM if self.bom else b"") + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            raise ValueError(f"the file is not in UTF-8, and {text[error.start]!r} cannot be written in it") from error


def decode_file(raw: bytes) -> FileText:
    """Return the text of a file's bytes: what is not UTF-8 is taken byte by byte, as `config.external` reads it."""
    bom = raw.startswith(_BOM)
    raw = raw.removeprefix(_BOM)
    try:
        return FileText(raw.decode("utf-8"), bom=bom)
    except UnicodeDecodeError:
        return FileText(raw.decode("latin-1"), "latin-1", bom)


def digest_of(text: str) -> str:
    """Return what tells one text from another."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
