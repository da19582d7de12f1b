"""Files in the encodings older than MIME: uuencode, yEnc, BinHex, standing as files inside others.

Called by `unpack`, and by `mailbase` for the texts of attached mail. Blocks in the texts of the mail itself are the
stage's business, which knows where in the mail they stand.
"""

from collections.abc import Iterator

from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening
from gatepost.mime.blocks import MAX_BLOCKS, TOO_MANY, decode_block, find_uu_blocks


def open_encoded(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield what every block decodes to. OverBudget."""
    blocks = find_uu_blocks(data, 0, len(data))
    for block in blocks:
        content, damaged = decode_block(data, block)
        trouble = "the encoded data is damaged" if damaged else ""
        yield take(opening, block.name or name.rpartition(".")[0] or "block", content, trouble=trouble)
    if len(blocks) >= MAX_BLOCKS:
        yield Member("", trouble=TOO_MANY)
