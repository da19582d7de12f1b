"""One small archive of each kind, for `warm_up`: what an opener loads or sets up at its first use, it could not behind
the filter's walls. `build_samples` makes them when asked, so that nothing of it stays in memory.
"""

import base64
import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind
from gatepost.model.zstandard import zstd

PASSWORD: Final = "warm"
"""Opens those that are encrypted."""
CONTENT: Final = b"content of a small archive"
"""What is in each of them."""


def build_samples() -> Iterator[tuple[Kind, bytes]]:
    """Yield (kind, archive)."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("a", CONTENT)
        yield Kind.ZIP, out.getvalue()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("\u00e4")
        member.size = len(CONTENT)
        tar.addfile(member, io.BytesIO(CONTENT))
    yield Kind.TAR, out.getvalue()
    yield Kind.GZIP, gzip.compress(CONTENT, mtime=0)
    yield Kind.BZIP2, bz2.compress(CONTENT)
    yield Kind.XZ, lzma.compress(CONTENT)
    yield Kind.LZMA, lzma.compress(CONTENT, lzma.FORMAT_ALONE)
    yield Kind.ZSTD, zstd.compress(CONTENT)
    yield Kind.ISO, lzma.decompress(base64.b64decode(_ISO))
    for kind, text in _OTHERS:
        yield kind, base64.b64decode(text)


_OTHERS: Final = (
    (
        Kind.ZIP,  # AES
        (
            "UEsDBBQACQBjAAAAIQAAAAAAAAAAAAAAAAABAAsAYQGZBwABAEFFAwgArcwbSV26lMsV0xraOgD5ce/oUw2jokJLNhNB8AhHHXWCjntc"
            "GMd1N/K5tfZYPpkkgeo5JyF5vuZQSwcIItHKWTgAAAAaAAAAUEsBAhQDFAAJAGMAAAAhACLRylk4AAAAGgAAAAEACwAAAAAAAAAAAKSB"
            "AAAAAGEBmQcAAQBBRQMIAFBLBQYAAAAAAQABADoAAAByAAAAAAA="
        ),
    ),
    (
        Kind.ZIP,  # ZipCrypto
        (
            "UEsDBBQACQAIAAAAIQAAAAAAAAAAAAAAAAABAAAAYTgenI636+DrCT8d9xvafcZhDVPvpdREes26Kyr/klFE6bAV362ZsBpQSwcIItHK"
            "WSgAAAAaAAAAUEsBAhQDFAAJAAgAAAAhACLRylkoAAAAGgAAAAEAAAAAAAAAAAAAAKSBAAAAAGFQSwUGAAAAAAEAAQAvAAAAVwAAAAAA"
        ),
    ),
    (
        Kind.SEVEN_ZIP,  # encrypted
        (
            "N3q8ryccAARMUmWDhQAAAAAAAAAUAAAAAAAAAJEzpPsVdRtuauyssSjcKaJRFLsC3J5wsn5TDB5ATODro9gzDwEAYAEEBgABCSAKAXpd"
            "SPoABwsBAAIkBvEHARJTD5SxuHMGmz41UtNskkrtGbABAAEADBoaAAgKASLRylkAAAUBGQQAAAAAEQUAYQAAABQKAQDQvSBBSHrdARUG"
            "AQAggICBAAAAFwYgAQllAAcLAQABISEBGAxhAAA="
        ),
    ),
    (
        Kind.CPIO,  # newc
        (
            "MDcwNzAxMDAwMDAwMDAwMDAwODFhNDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMWEwMDAwMDAwMDAwMDAwMDAw"
            "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAyMDAwMDAwMDBhAGNvbnRlbnQgb2YgYSBzbWFsbCBhcmNoaXZlAAAwNzA3MDEwMDAwMDAwMDAw"
            "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAxMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"
            "MDAwMDAwMGIwMDAwMDAwMFRSQUlMRVIhISEAAAAA"
        ),
    ),
    (
        Kind.AR,
        (
            "ITxhcmNoPgphICAgICAgICAgICAgICAgMCAgICAgICAgICAgMCAgICAgMCAgICAgMTAwNjQ0ICAyNiAgICAgICAgYApjb250ZW50IG9m"
            "IGEgc21hbGwgYXJjaGl2ZQ=="
        ),
    ),
    (
        Kind.XAR,
        (
            "eGFyIQAcAAEAAAAAAAABXQAAAAAAAAKbAAAAAXicdVLbcoMgEH3vVzC+WwQUJEPMW78g/QACqEy9jZKMyddXUNvJpH3i7HH37O5xxWlu"
            "G3Az42T77hih9yQCplO9tl11jD7PH3EenYo3McuxeAPC9Wp5gFCjkW6piJ1tTYETTGOEYozPCT0gdEhSAZ9TQlFt1Nd0bcHk7o05RlMt"
            "UeS/ANGX5WRckQi4ocBO9uHFBQzAS8BdI0SlbQywehl7k+nk0koKGN7AuPtgCp8nYICBtF2vjW+2gsC1gaLpMnn7Q16t9mn+CXG1xtUe"
            "a+lkQEA0pqtcXZClfoMrv+2Dn1fbd6O/uy3cbvxukByGxqrgIpzj6mGHCG6pclS1vRkd/20qQxnTeZJLxXKGc5VLkhCuiOQXfiGcYqoM"
            "0Rct4IvQPsvsRqncvx0w4VgvigyjNGOEpCnnSCeU0bSkpeJMYcR4lgn4qrSaB3f3BPQ/yJ8XDPclYLi2bxo5xhJSt/LziVp4tAb8pmRR"
            "DJPBsbrUsHicS87PK0nNK1HIT1NIVCjOTczJUUgsSs7ILEsFAIJyCa14nHVS23KDIBB971cwvlsEFCRDzA=="
        ),
    ),
    (
        Kind.COMPRESS,
        ("H52QY964oVNmIIg3ZkCEATGnTRg2bBTKGYMmjZ0y"),
    ),
    (
        Kind.LZIP,
        ("TFpJUAEXADGbyhna7aTyu3xb4cCg67Is8yb9T2HwCG4cJVAp//9AOIAAItHKWRoAAAAAAAAAPgAAAAAAAAA="),
    ),
    (
        Kind.LZ4,
        ("BCJNGGRwuRwAAADwC2NvbnRlbnQgb2YgYSBzbWFsbCBhcmNoaXZlAAAAAPs6oF8="),
    ),
    (
        Kind.CAB,  # stored
        (
            "TVNDRgAAAABgAAAAAAAAACwAAAAAAAAAAwEBAAEAAAAAAAAAPgAAAAEAAAAaAAAAAAAAAAAAAAAAACAAYQAAAAAAGgAaAGNvbnRlbnQg"
            "b2YgYSBzbWFsbCBhcmNoaXZl"
        ),
    ),
    (
        Kind.RAR,  # version 5, stored
        ("UmFyIRoHAQDFGjMyAwEAAPtfe2IPAgIaBBqkAyLRylkAAQFhY29udGVudCBvZiBhIHNtYWxsIGFyY2hpdmUZsjo1AwUAAA=="),
    ),
)
_ISO: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM5a//AuJdAABv/f//o7f/Rz5IFXI5YVG4kijmo4YH+e7kHoLTL8U6PAFLsX7JiopNL6MN2X+m"
    "44wjEVPgWRjFdYrid/dE790OjkefKuUNdUG7Q609LBi0BT3LYTAYxkCvjKUkM9Ey+IH8A42Qb0Y2D67d4cKrEhZJ+uoXhDyUYYGrNoF0"
    "EezNkTuV1OXeS6n6jWMuF657YDUr8rVLrsyzrulniqRfD8hMTqPsh/PPe1GJ9biMOm8V4vjwkga2yXtzZ2xU8Z7U5AGvCkP5Pk9cUm8+"
    "pX2r5Yy9jojUWkr7OgcNTmdeW5gCo71fjji8kw2JvDunV+JhMl6fOfPVvmhIc7MdQB1n5vYSnKPC/krwxXbYIL9u9/eaF5LUaNHvcWGr"
    "Hybx3cYsIII4mUl0yLkHruCNVUPL7zo3r4troDe8pEDzGULjUOEu0TFnrs+LGAIjgqj7nUF5Xpr7T51hfzuc+uWUqHRHhW8kRLogf1RS"
    "oGaKSRQtV6PoQhQNB9aIr+tWCVvyMtkZ5nr7gM5bLi6Pc+2B5ttbCnQ+n/foGQKz79pCF/BEuaSGZ4a7YMzet1eP3pJEiKYyg4LtM8n5"
    "4BeVwgCBOzC6yZudWg/7qF4NI5WygrOsfcdZgyuZ8pdt1NJ94CESqYpZwly3GBoyALAvc+kITTw7/cz0UKYY0P38glyUcmz4ikJ/VClB"
    "RcGCydXvMlaIPYgjvOVwBnHS3iD3AslR710K0A80ntkzL3tlmiTiDs1xzQmcecFxs7IPjVmuhUHPZCI+TW7dsGlXHw54cQ+ZOrh5Fzyt"
    "KmY5s1tYDxcaIZ43hZAHUPGteOBWwi7m6PH88dbR+MAMjStGB5pJ+QiC2z22/JNVucT9cdb8UwAxEEYqG++tR4iEO/kcu2Xs0KH4wVk2"
    "fkNjg6NLyZkg3KHzLg+tJtqIxWJbLHYtrczqNfQ+9V7GSR0d5Hls+WVyvVLf4cj+eSG1qDOPYoR9WlFiknIMODCgAAAAAJsMgf8VfPML"
    "AAH+BYDgFgCI8A58scRn+wIAAAAABFla"
)
