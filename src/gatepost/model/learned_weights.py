"""The layout of the file of learned weights, as anti-spam, the learner and those who look after the file agree on it.

`antispam.classifier.learned` maps the file, `storage.weights_file` looks at it and makes a blank one.
"""

import struct
from typing import Final

TEXT_BITS: Final = 18
"""Slots of the text table: 16 bits cost an eighth of the accuracy, 20 bits gain nothing."""
HEADER_BITS: Final = 18
MAGIC: Final = b"GPLEARN1"
DOMAINS: Final = 32
"""Recipient domains with weights of their own; further ones learn with the gateway."""
DOMAIN_SHIFT: Final = 2
"""A domain's tables have a quarter of the slots: it learns from fewer messages."""
STATE: Final = struct.Struct("<8sIIddd")
PAGE: Final = 16 * 1024
GATEWAY_SLOTS: Final = (1 << TEXT_BITS) + (1 << HEADER_BITS)
DOMAIN_SLOTS: Final = GATEWAY_SLOTS >> DOMAIN_SHIFT
FILE_SIZE: Final = PAGE + 4 * (GATEWAY_SLOTS + DOMAINS * DOMAIN_SLOTS)


def pack_blank_state() -> bytes:
    """Return the beginning of a file in which nothing was learned; the rest of it is zeros."""
    return STATE.pack(MAGIC, 0, 0, 1.0, 1.0, 0.0)
