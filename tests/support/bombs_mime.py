"""Mails whose own structure is the bomb: fields, parts, nesting, names and texts without end. Made when asked for."""

import base64
from collections.abc import Callable

HEAD = b"From: <sender@example.net>\r\nTo: <user@example.org>\r\nSubject: bomb\r\nMIME-Version: 1.0\r\n"

Make = Callable[[int], bytes]
"""Count or bytes -> a whole mail."""


def attached(data: bytes, name: str = "bomb.bin", kind: str = "application/octet-stream") -> bytes:
    """Return a mail with a text and the data in base64."""
    encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    fields = f'Content-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'.encode()
    return (
        HEAD + b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n"
        b"--b1\r\n\r\nHello.\r\n--b1\r\n" + fields + encoded + b"--b1--\r\n"
    )


def text(body: bytes, kind: str = "text/plain") -> bytes:
    """Return a mail that is one text, as it stands."""
    return HEAD + f"Content-Type: {kind}; charset=utf-8\r\n\r\n".encode() + body + b"\r\n"


def fields(count: int) -> bytes:
    """Return a mail with so many header fields."""
    return HEAD + b"".join(b"X-Field-%d: some value\r\n" % n for n in range(count)) + b"\r\nbody\r\n"


def long_field(size: int) -> bytes:
    """Return a mail with one field of so many bytes, folded."""
    line = b" " + b"x" * 900 + b"\r\n"
    return HEAD + b"X-Long:" + line * (size // len(line)) + b"\r\nbody\r\n"


def parts(count: int) -> bytes:
    """Return a multipart of so many parts."""
    one = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    return HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + one * count + b"--b--\r\n"


def deep(depth: int) -> bytes:
    """Return multiparts in each other, each with a boundary of its own."""
    fields = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    begins = b"".join(fields % (level, level) for level in range(depth))
    ends = b"".join(b"--b%d--\r\n" % level for level in reversed(range(depth)))
    return HEAD + begins + b"\r\ninmost\r\n" + ends


def forwarded(depth: int) -> bytes:
    """Return messages in each other."""
    return HEAD + b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: inmost\r\n\r\ntext\r\n"


def forwarded_encoded(depth: int) -> bytes:
    """Return messages in each other, each in base64: 4/3 of the one inside."""
    inner = HEAD + b"\r\ninmost\r\n"
    for _ in range(depth):
        packed = base64.encodebytes(inner).replace(b"\n", b"\r\n")
        inner = HEAD + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + packed
    return inner


def long_boundary(size: int) -> bytes:
    """Return a multipart with a boundary of so many bytes, and delimiter lines that nearly fit."""
    boundary = b"b" * size
    folded = b"\r\n ".join(boundary[at : at + 900] for at in range(0, size, 900))
    near = (b"--" + boundary[:900] + b"\r\n") * 2000
    head = HEAD + b'Content-Type: multipart/mixed;\r\n boundary="' + folded + b'"\r\n\r\n'
    return head + near + b"--" + boundary + b"\r\n\r\nx\r\n"


def one_line(size: int) -> bytes:
    """Return a base64 text of so many bytes without a line end."""
    return (
        HEAD + b"Content-Type: application/x-thing\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * (size // 4)
    )


def continuations(count: int) -> bytes:
    """Return a file name in so many pieces (RFC 2231 §3)."""
    pieces = b"".join(b";\r\n name*%d=x" % n for n in range(count))
    return HEAD + b"Content-Type: application/x-thing" + pieces + b"\r\n\r\nbody\r\n"


def encoded_words(size: int) -> bytes:
    """Return fields of encoded words that never end, and of ones that do."""
    unit = b" =?utf-8?q?" * 80 + b"\r\n"
    other = b" =?utf-8?b?QUJD?=" * 50 + b"\r\n"
    half = size // 2
    return (
        HEAD + b"Subject:" + unit * (half // len(unit)) + b"Comments:" + other * (half // len(other)) + b"\r\nbody\r\n"
    )


def addresses(count: int) -> bytes:
    """Return a mail to so many people."""
    lines = b",\r\n ".join(b'"Some Body" <user%d@example.org>' % n for n in range(count))
    return b"From: <sender@example.net>\r\nTo: " + lines + b"\r\n\r\nbody\r\n"


def uu_blocks(count: int) -> bytes:
    """Return a text with so many encoded blocks."""
    return text(b"begin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\n" * count)


def readings(count: int) -> bytes:
    """Return a mail with as many second readings as can be had: boundaries twice, types twice, lines behind the end."""
    inner = b"".join(b"--a\r\n\r\nx\r\n--b\r\n\r\ny\r\n--a--\r\n--b--\r\n" for _ in range(count))
    kinds = b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\nContent-Type: multipart/mixed; boundary=b\r\n"
    return HEAD + kinds + b"\r\n" + inner


RUNS: dict[str, bytes] = {
    "begin": b"begin 644 a\r\n",
    "ybegin": b"=ybegin line=128 size=1 name=a\r\n",
    "binhex": b"(This file must be converted with BinHex 4.0)\r\n:\r\n",
    "dashes": b"--",
    "delimiters": b"--b\r\n",
    "comments": b"(",
    "quotes": b'"',
    "escapes": b"=\r\n",
    "padding": b"QQ==",
    "spaces": b" \t",
    "blank lines": b"\r\n",
    "from lines": b"\nFrom a@b Thu Jan  1 00:00:00 1970\n",
    "fields": b"a:b\r\n",
    "password": b"password: abc\r\n",
    "less-than": b"<",
    "tags": b"<a ",
    "html comments": b"<!--",
    "scripts": b"<script>",
    "attributes": b"<a href='",
    "entities": b"&#x",
    "data urls": b"<img src='data:a/b;base64,QUJD'>",
    "cdata": b"<![CDATA[",
    "conditional": b"<!--[if ",
    "processing": b"<?xml ",
    "rtf groups": b"{\\a",
    "rtf objects": b"{\\object{\\*\\objdata 0105}}",
    "zip members": b"PK\x03\x04",
    "zip ends": b"PK\x05\x06",
    "rar": b"Rar!\x1a\x07\x00",
    "rar5": b"Rar!\x1a\x07\x01\x00",
    "7z": b"7z\xbc\xaf'\x1c",
    "cab": b"MSCF\0\0\0\0",
    "gzip": b"\x1f\x8b\x08\0",
    "pdf": b"%PDF-1.4\n1 0 obj<<",
    "pdf streams": b"stream\n",
    "pdf arrays": b"[",
    "programs": b"MZ\x90\0",
    "ole": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "wide": b"<\0s\0c\0r\0i\0p\0t\0",
    "base64 in script": b"atob('QUJDRA==')+",
    "concatenation": b"'a'+",
    "powershell": b"powershell -enc ",
    "fromcharcode": b"String.fromCharCode(65,",
    "urls": b"http://",
}
"""Runs of what patterns look for."""
