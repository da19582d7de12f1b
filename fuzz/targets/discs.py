"""File systems of discs and disks that are too large to be made byte by byte: changes of sound UDF and NTFS images."""

import base64
import functools
import lzma
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.kinds import Kind

from .unpacked import open_as

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 200
_BLOCK: Final = 512
_CONTENT: Final = b"content of a file"
WORDS: Final = (
    b"\xff\xff", b"\0\0\0", b"\x80\0", b"FILE", b"\x05\x01", b"\x0a\x01", b"\x02\x01", b"\x01\x01", b"\x04", b"\x21\x01",
)  # fmt: skip


def execute(data: bytes) -> None:
    """Take the first byte as the image, the rest as changes: which of its blocks that are not empty and where in it,
    length, bytes. Open it.
    """
    if not data:
        return
    kind, image, blocks = _images()[data[0] % len(_images())]
    changed = bytearray(image)
    rest = data[1:]
    while len(rest) > 3:
        number, size = int.from_bytes(rest[:2], "big"), rest[2] % 16
        place = blocks[(number // _BLOCK) % len(blocks)] + number % _BLOCK
        new = rest[3 : 3 + size]
        if size == 0:
            del changed[place:]
        else:
            changed[place : place + len(new)] = new
        rest = rest[3 + size :]
    found = open_as(bytes(changed), kind)
    if bytes(changed) == image:
        assert _CONTENT in {member.data for member in found}
        assert not any(member.trouble for member in found)


def seeds() -> Iterator[bytes]:
    """Yield each image as it is, and with a change or two."""
    for number in range(len(_images())):
        yield bytes((number,))
        yield bytes((number,)) + b"\x02\x03\x02\x03\x00" + b"\x04\x3a\x02\x03\x00"
        yield bytes((number,)) + b"\x0e\x20\x01\x02" + b"\x09\x00\x00"


@functools.cache
def _images() -> tuple[tuple[Kind, bytes, tuple[int, ...]], ...]:
    """Return (kind, image, where its blocks are that are not empty)."""
    made = []
    for kind, packed in (
        (Kind.UDF, _UDF),
        (Kind.UDF, _UDF_METADATA),
        (Kind.DISK_IMAGE, _NTFS),
        (Kind.DISK_IMAGE, _GPT),
        (Kind.DISK_IMAGE, _QCOW),
        (Kind.DISK_IMAGE, _VMDK),
        (Kind.DISK_IMAGE, _VDI),
    ):
        image = lzma.decompress(base64.b64decode(packed))
        filled = (at for at in range(0, len(image), _BLOCK) if image[at : at + _BLOCK].strip(b"\0"))
        made.append((kind, image, tuple(filled)))
    return tuple(made)


_UDF: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM6af/AcpdAABv/f//o7f/Rz5IFXI5YVG4kijmo4YH+e7kHoLTL8U6PAFLsX7JiopNL6MN2X+m44wj"
    "EVPgWRjFdYrid/dF3wqDSd0lzRBQ084FRbbJpEX84VTsNHIpGgZRCg4ceyNs2GYdHuj7r5bSdWeTAUPXiOadrjTpXK4ZZL6aCd2ptdDFJXUK"
    "rT2ftGYnJpLsYhL6eb9hqwQtVcrdrX7foddSpecnIeNiTxNCSOe9Chzn0uOB/NoMsuLS5Eb2VPCIdSww28JQVJEilwYDX8lwOxTAMjeYpRUB"
    "peijCSrsqv9aJqxwJcaRcRbyfosJrxZhpXEGDAhSCu31Zk2b6xOuZoCWZkL1ZoYwbGnGVaxiiaZ8eGAWXhGtbcKsyX/zugPRWsoWfaUTD4Y2"
    "zaXbtOnd38NGt/kQ72heLX730Q63i46cAH2xsmbh6qGYe3xCT8LVfFc8oClFe4mzg5qybWMM4D7w1KGU15M/tZhKDP6aSR/FiR6trmtIjSZX"
    "bQ1+hiX6FZrG8q5nPeV2b8FoHDjJ0kx6jEeuOfY1EIcWmeRk49RiY4bRZAYycDCT/GRbXadKMhLIcAarJpG9nrRTaBj6CwoFYthM2X3MqLmK"
    "5yKWAAAAPwInOLtEQFsAAeYDgNAmAL1W5uexxGf7AgAAAAAEWVo="
)
_UDF_METADATA: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM6Zf/AeFdAABv/f//o7f/Rz5IFXI5YVG4kijmo4YH+e7kHoLTL8U6PAFLsX7JiopNL6MN2X+m44wj"
    "EVPgWRjFdYrid/dF3wqDSd0lzRBQ084FRbbJpEX84VTsNHIpGgZRCg4ceyNs2GYdHuj7r5bSdWeTAUPXiOadrjTpXK4ZZL6aCd2ptdDFJXUK"
    "rPjVskAE3Zk/aUGjvbVa8IHy9ot+PC6Y1mVhtBP9b5BUx12A/Jv2xv+wGAI7dmeMg/lQV7J7dH7Xhstx2RKOPxeF5x+VO7xqQ8UgiPUNT3ZH"
    "E2Dd63Ky5Eb2VPCIdSww28JQVJEilwYDX8lwOxTAMjeYpRUBpeijCSrsqv9aJqoTn6f5NZ5O4xK0VP13bEJNabbwc0JZmo01hdX9Jqsyj1Qg"
    "86hw3R8GgoK/lN4CvNFolqFAxzTemfDN03+jRSacqOXGJEXf3B9XW8TSbWWqwO8WidMkHCLlih17bcTV9/kYGvr52oG9n5FA9PppAp28Pf1i"
    "fMNXBtZLSPiA0OMBIMl5JUbhjMnIUeCu3eD6JYeGBuIstX9LFhgSuiY/x6o68a7uDntoQsl+VadJAgdsWWVMnfgcEHaQWUsl5FbeQJfTWKDl"
    "lmteNus2ponOqz9vMuoSLEbalwix0DNDNgAAAAAA48AxycOikK0AAf0DgLAmAMVvIMaxxGf7AgAAAAAEWVo="
)
_NTFS: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4hH/AURdAHWUjgTioHH0A6nzyZNRtG18HX5z4gJMGu0uQ/Vy4TQwliJLWY1ZyFw9UYOrMNENHR7U"
    "sztrlxGaeE1Y3/sKp2MVwSQ5EdA0GOynn8kKIVbAPeLh64o4U21WdOdhkAQ4Db+GihCFAB4UwSi2jNOY0LWWM/oAhoe/hOgbby+jBLo7QdlQ"
    "Ss8XZ5b87uS/ibiHw2KCyG2z6NBg1VinSZolGOekYeeCT5bMfGg+hDlu6T5o7HpjkrABE2azVYl6fY3EcGeFV7T7vOhjnty8woUX8p4VIR/i"
    "uVSFpvzttHpmkBm+LVyVSwLjOMj50YoeSLr64vuCRvQhTOFREQFEokqtePSyQtrfaPT0X0beBkf/BPfEtiwq8bFTs8vI6OVPGQ6kXAN+cQjD"
    "hK6GHVdjGm98ppkd3qBwMxCiZE0lEUPD7y344L01AAAkgMDsNfAV6gAB4AKApAgAsFUgVLHEZ/sCAAAAAARZWg=="
)
_GPT: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4pH/AaddAABv/fyg9bP7xH5z+ONpth0eE32/3zhK03dq3CoRJ4La/bHOi1v9/1OMta+HCRVg/Y4Z"
    "f9T7BnjkEqaC4qySf4PQ/IaaAxqAPCh+uRjiyI/j/QiQmYZ03312raM7ShXuPvtrbhhrefJkkzw6HgRJEtAuTMWLl4BoPXtSYkqDDqccB2C8"
    "V7bb3X4higfJ3Bx0a7BYr+5sPQUgwm03q1jC852gxvRjPhcxlqxHLzUhNkUXFJ7ulBYIeI4YDnef9LhPOaLTRcaDPDmT2OggCpEO5Ay5EPC5"
    "hipL/8UeH1eX6H7jll91cSZncInQpEe24RHx3W9Rpb3f2U9t1Mt+4iALmrZjSK1jsRxJfnTM7yDvyFrPVcYGEsdmiOJxW9EAhLUco5qX8Nzt"
    "tF1s0C2kCC3AMTFOw6Gbd6EB+O21bPHpmjHCZUtBlo2MLJA9mvxYLev0WJaudMM5MahGRz6+w/+21d0Uyyk8JkpThEKhh0qBhdsyeyIs1vST"
    "FUW+ywa0Nm3E6Hf1lwFKdBZnkHwhnR6pfs8L9Su+TxknnPUAG0q4Wyt+gNHJ4ijCAAAAN4MkaYsTMSkAAcMDgKQKABppTtqxxGf7AgAAAAAE"
    "WVo="
)
_QCOW: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4wH/AR5dACiRhVzYhNkaVV/L1K0AU5aqc/1ScfgPI8lwFX5/QNyO7x4mROzTAmNelqSBylgvkpwdzyo/"
    "xDga89JTLSJYSskvQtIj/6pjBrHPt/abN8WlIxqQcHTMSqGpGn7KP0xa8N8CQ8nMJRApbOMMcCkO1uhaIg0UMHtgeMC0Ny+U7KDh1XVR5rZ5eUl8"
    "pS3JIEsVRwYx/77tKO0e93I/2IHs/+NLn2ko3dLTlTVuhrm+C3HhoG55U0ydEf+k1+No0YobnndICfsACAmmMH7xn4Edb9B1FXnboszJsDlf1Dpa"
    "1FEnLAhAG9wye/P76SdI08r46zHztLTi9u2ZafCQE93YAlxkp3rSkE3y8yhR09hwn0Uu3UbEYT1mMcvp/czPscAAAACOIB0aHcpX6gABugKAhAwA"
    "xf0UpbHEZ/sCAAAAAARZWg=="
)
_VMDK: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Q//AR1dACWRBd4YTRN9wYNtylPK4yrFX+9Exji53X3qKhrROYnTwb2fQrem4Sd7WzcGLCK98gQtecjp"
    "g3T5F7I5tVHfVVRlEJXqWeCU4vOwbY6Sqsp1etqmsB4ctK+CdiYPtwp22wEIJli7ZApdJJNJOfTEBvQ6S3K/JQEidzKio4ZyS6X01+lqta27CPB9"
    "vHTRt7jZ2CU2zvVAVx5k/yRCB/zlLNZ1g5Iz0uQikn/q/AWFDU7BMfv1eZZj5YQO/Zu2eRYmI0OtrEyHW6JXQYSPtNZOmQpad1ZWwAhwwutCQ9s5"
    "/nXZ1L5jI8ocgeZ/n63bMiOlJwAmlwehQ0mMVnAx2AsW2VkBZWx2SnoN4fdqrthOjJ12N7TkOXMspzvHHVgAAAAAAAAC/tF92pCu2wABuQKAoAQA"
    "X+sd1LHEZ/sCAAAAAARZWg=="
)
_VDI: Final = (
    "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Q//AO1dAB5oBAnnIwmTROMHWOaKNTp1oAv24QeYBilTtft9WyA4UBf1xBPNqxNFWQcDrMyGZXFOwxnU"
    "MZhFw2h98/jenWTFQJoTG3PjI9C61tWWpn5TLfWBC6IWXb2CiV45imEikpYsaOLD8tMrUM2TPVSvLkWj3WAjzubb3gqxIQGiFdY0tknBrqJjU5du"
    "2vNfzFsYKQsMWCC6mGezWYyGe/gymWJxuQ2QggQ5AukagaolcwqQhmraqItuiRKCg8hBcgGZ6M0Tv++6JLlJ152SlLMgC2xJ6Rzk2pDm0rkb+act"
    "Dg3PGKBfSVhzRBkcHIz74AAAAABf/uJTg9qrowABiQKAoAQA8uxn0LHEZ/sCAAAAAARZWg=="
)
