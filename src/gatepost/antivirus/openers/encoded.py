"""Files in the encodings older than MIME: uuencode, yEnc, BinHex, standing as files inside others.

Called by `unpack`. Blocks in the texts of a mail are the stage's business, which knows where in the mail they stand.
"""

from collections.abc import Iterator

from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening
from gatepost.mime.blocks import decode_block, find_uu_blocks


def open_encoded(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield what every block decodes to. OverBudget."""
    for block in find_uu_blocks(data, 0, len(data)):
        content, damaged = decode_block(data, block)
        trouble = "the encoded data is damaged" if damaged else ""
        yield take(opening, block.name or name.rpartition(".")[0] or "block", content, trouble=trouble)
