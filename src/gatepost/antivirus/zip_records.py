"""Records of zip archives: their marks, layouts, flags and the methods that are met everywhere.

Shared by those who look for an archive in other data, who read one as hostile input, and who put one together.
"""

import struct
from typing import Final

LOCAL_MARK: Final = b"PK\x03\x04"
CENTRAL_MARK: Final = b"PK\x01\x02"
END_MARK: Final = b"PK\x05\x06"
DESCRIPTOR_MARK: Final = b"PK\x07\x08"
LOCAL: Final = struct.Struct("<4s5H3L2H")
"""Header in front of a member."""
CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
"""Its entry in the directory."""
END: Final = struct.Struct("<4s4H2LH")
"""What follows the directory; a comment comes last, of at most 65,535 bytes."""
UNKNOWN_32: Final = 0xFFFF_FFFF
"""A number that stands in the extra field for 64 bits ..."""
ZIP64_EXTRA: Final = 0x0001
"""... of this kind."""
FLAG_ENCRYPTED: Final = 0x1
FLAG_DESCRIPTOR: Final = 0x8
"""Checksum and sizes follow the data."""
FLAG_STRONG: Final = 0x40
FLAG_UTF8: Final = 0x800
FLAG_MASKED: Final = 0x2000
"""The directory itself is encrypted."""
STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
"""Methods."""
