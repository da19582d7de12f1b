"""Mails with a file in them, and with oddities that readers of MIME take one way or another.

`build(chance, oddities)` gives a mail and the names of its oddities. Whoever shows the file shows `MARK`, which stands in
the mail encoded only.
"""

import base64
import random
from collections.abc import Sequence

MARK = b"MZ this is what a reader would show as a file !!"

_BOUNDARIES = (
    b"abc", b"----=_x1", b"a=b", b"x" * 70, b"a b", b"a'b", b"a(o)b", b"a,b", b"a/b", b"abc--", b"a" * 200, b"",
)  # fmt: skip
_ENCODINGS = tuple(
    b"Content-Transfer-Encoding" + each
    for each in (
        b": %s", b":%s", b": %s (c)", b": (c) %s", b": %s;", b": %s x", b": x-%s", b': "%s"', b": '%s'", b": <%s>", b" : %s", b"\t: %s",
        b":\r\n\t%s", b": \r\n %s", b": %s\0", b": %s\xa0", b":\x0b%s", b": =?us-ascii?Q?%s?=", b": %s, 8bit", b": 8bit, %s",
        b": 7bit\r\nContent-Transfer-Encoding: %s", b": %s\r\nContent-Transfer-Encoding: 7bit",
    )
)  # fmt: skip
_TYPES = (
    b"application/octet-stream", b"text/plain", b"image/png", b"garbage", b"text/html", b"message/rfc822", b"message/rfc822; x",
    b"multipart/mixed", b"multipart/mixed; boundary=nowhere", b'multipart/x; boundary=""', b"message/delivery-status", b"message/partial",
    b"message/external-body", b"message/global", b"text/rfc822-headers", b"application/ms-tnef",
)  # fmt: skip
_MULTIPARTS = (
    b'multipart/mixed; boundary="%s"', b"multipart/mixed; boundary=%s", b'multipart/mixed;\r\n boundary="%s"',
    b'multipart/mixed boundary="%s"', b'multipart/mixed, boundary="%s"', b'multipart/mixed;;boundary="%s"', b'multipart; boundary="%s"',
    b'multipart/mixed; boundary="%s"; boundary="zzz"', b'multipart/mixed; boundary="zzz"; boundary="%s"',
    b'text/plain\r\nContent-Type: multipart/mixed; boundary="%s"', b'multipart/mixed; boundary="%s"\r\nContent-Type: text/plain',
    b'multipart/mixed; boundary*0="%s"', b"multipart/mixed; boundary*=us-ascii''%s", b'multipart/mixed; boundary*0=""; boundary*1="%s"',
    b'multipart/mixed; x=y; boundary="%s" (c)', b'multipart/mixed; (boundary=zz) boundary="%s"', b'multipart/mixed; boundary = "%s"',
    b'"multipart/mixed"; boundary="%s"', b'multipart/mixed; x="; boundary="%s"', b"=?us-ascii?Q?multipart/mixed;_boundary=3D%s?=",
    b'multipart/mixed; boundary="=?us-ascii?Q?%s?="', b'multipart/mixed; boundary="%s ', b'multipart/mixed; boundary="%s"x',
    b"multipart/mixed; boundary='%s'", b"multipart/mixed; boundary=%s,x", b"multipart/mixed; boundary=%s x", b'multipart/mixed; boundary:"%s"',
    b'message/rfc822; boundary="%s"', b'text/plain; boundary="%s"', b'application/octet-stream; boundary="%s"', b'; boundary="%s"',
    b'boundary="%s"; multipart/mixed', b'multipart/ mixed; boundary="%s"', b'multipart/digest; boundary="%s"',
    b'multipart/mixed; boundary=\r\n "%s"', b'multipart/mixed;\r\nboundary="%s"', b'multipart/mixed; bound\r\n ary="%s"',
)  # fmt: skip
_NAMES = (
    b"Content-Type: ", b"Content-Type : ", b"Content-Type\t: ", b"Content-Type:\r\n ", b"content-TYPE:", b" Content-Type: ",
    b"garbage\r\nContent-Type: ", b"From x\r\nContent-Type: ", b"X:\r\n \r\nContent-Type: ", b"X y: z\r\nContent-Type: ",
)  # fmt: skip
_DELIMITERS = (
    b"--%s\r\n", b"--%s \r\n", b"--%s\t\r\n", b"--%sx\r\n", b"--%s\n", b" --%s\r\n", b"-- %s\r\n", b"--%s-\r\n", b"--%s--\r\n", b"--%s--x\r\n",
    b"--%s\0\r\n", b">--%s\r\n", b"--%s(c)\r\n", b"--%s\x0b\r\n", b"--%s\r\r\n", b"\r--%s\r\n", b"--%s\r", b'--"%s"\r\n', b"---%s\r\n",
    b"\n--%s\r\n", b"--%s;\r\n",
)  # fmt: skip
_ENDS = (b"--%s--\r\n", b"", b"--%s--", b"--%s\r\n", b"\r\n.\r\n")
_LINES = (
    b"", b"garbage line\r\n", b" continued\r\n", b"X:\r\n", b"From x\r\n", b">From x\r\n", b"--\r\n", b"\0\r\n", b"\xff: 1\r\n", b'X: "\r\n',
    b"X: (\r\n", b"\x0c\r\n", b"Subject\r\n", b"X:y\r\n \r\n",
)  # fmt: skip
_SEPARATORS = (b"\r\n", b"\n", b"\r\n\r\n", b"\r\r\n")
_SITES: dict[str, tuple[bytes, ...]] = {
    "boundary": _BOUNDARIES, "encoding": _ENCODINGS, "type": _TYPES, "multipart": _MULTIPARTS, "name": _NAMES, "first": _DELIMITERS,
    "second": _DELIMITERS, "end": _ENDS, "line": _LINES, "separator": _SEPARATORS,
}  # fmt: skip
_PADS = (b"=", b"==", b"===", b"==\r\n", b"\r\n\r\n", b"!", b" ", b"\xa0")


def build(chance: random.Random, oddities: int) -> tuple[bytes, str]:
    """Return a mail with so many oddities at most, and their names."""
    odd = chance.sample([*_SITES, "body"], chance.randint(1, oddities))
    told: list[str] = []

    def take(site: str) -> bytes:
        ways: Sequence[bytes] = _SITES[site]
        if site not in odd:
            return ways[0]
        number = chance.randrange(1, len(ways))
        told.append(f"{site} {ways[number]!r}")
        return ways[number]

    boundary = take("boundary")
    encoding = chance.choice((b"base64", b"quoted-printable"))
    fields = [
        b'Content-Type: %s; name="a.exe"\r\n' % take("type"),
        take("encoding").replace(b"%s", encoding) + b"\r\n",
        b'Content-Disposition: attachment; filename="a.exe"\r\n',
    ]
    chance.shuffle(fields)
    fields.insert(chance.randrange(4), take("line"))
    if encoding == b"base64":
        body = base64.encodebytes(b"xyz" * 10 + MARK).replace(b"\n", b"\r\n")
    else:
        body = b"".join(b"=%02X" % each for each in MARK) + b"\r\n"
    if "body" in odd and encoding == b"base64":
        at, pad = chance.randrange(1, 40), chance.choice(_PADS)
        told.append(f"{pad!r} at {at} of the body")
        body = body[:at] + pad + body[at:]
    part = b"".join(fields) + take("separator") + body
    mail = (
        b"From: a@b.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n",
        take("name"), take("multipart").replace(b"%s", boundary), b"\r\n\r\n",
        take("first").replace(b"%s", boundary), b"Content-Type: text/plain\r\n\r\nhello\r\n",
        take("second").replace(b"%s", boundary), part,
        take("end").replace(b"%s", boundary),
    )  # fmt: skip
    return b"".join(mail), ", ".join(told)
