"""What hides a file or its name from a reader of MIME that knows one way to read: other readers' ways are seen as well."""

import base64

import pytest

from gatepost.mime.decode import decode_body
from gatepost.mime.filenames import MAX_NAMES
from gatepost.mime.part import Defect, Encoding
from gatepost.mime.structure import parse

PAYLOAD = bytes(range(256)) * 3


def part_of(*fields, body=b"x"):
    return parse("\r\n".join((*fields, "", "")).encode("latin-1") + body).root


def readings(content):
    return [decode_body(holder.content, part).data for holder, part in parse(content).leaves()]


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ('filename="file".exe"', "file.exe"),
        ("filename='file.exe'", "file.exe"),
        ('filename=file.exe"', "file.exe"),
        ("filena()me=file.exe", "file.exe"),
        ("file(comment; x)name=file.exe", "file.exe"),
        ("filename=file.e()xe", "file.exe"),
        ("filename=file.e(.gif)xe", "file.exe"),
        ("filename=file.exe (a picture)", "file.exe"),
        ("filename=file.exe a picture", "file.exe"),
        ("filename=file;.exe", "file;.exe"),
        ("filename=file;v2 .exe; size=3", "file;v2 .exe"),
        ('filename="file.exe\0.txt"', "file.exe"),
        ("filename=file%2Eexe", "file.exe"),
        ("filename==?utf-16?B?AGYALgBlAHgAZQ==?=", "f.exe"),
        ("filename==?utf-16?B?ZgAuAGUAeABlAA==?=", "f.exe"),
        ("filename*=utf-16''%00f%00.%00e%00x%00e", "f.exe"),
        ("filename*=utf-8''%3D%3Fus-ascii%3FQ%3Ff.exe%3F%3D", "f.exe"),
        ("filename*0=file.exe; filename*2=.txt", "file.exe"),
        ("filename*1=.exe; filename*0=.txt", ".exe.txt"),
        ("filename*0=a.txt; filename*0=b.exe", "b.exe"),
        ("filename*=utf-8''a.txt; filename*0=b.ex; filename*1=e", "b.exe"),
        ("filename=a.txt; filename=b.exe", "b.exe"),
        ("filename*=utf-8''a.txt; filename=b.exe", "b.exe"),
        ("name=b.exe", "b.exe"),
        ("filename *0=file; filename *1=.exe", "file.exe"),
        ("filename *=utf-8''file.e%78e", "file.exe"),
        ("filename*=utf-8''file.e%78e, x", "file.exe"),
        ("filename*=utf-8''file.e%78e (c)", "file.exe"),
        ("filename=file.exe, x", "file.exe"),
        ('x="; filename=file.exe', "file.exe"),
    ],
)
def test_every_name_some_reader_shows(parameter, name):
    assert name in part_of(f"Content-Disposition: attachment; {parameter}").names
    other = parameter.replace("filename", "name").replace("filena", "na").replace("file(c", "(c")
    assert name in part_of(f"Content-Type: application/octet-stream; {other}").names


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Disposition: attachment; filename=a.txt", "Content-Disposition: attachment; filename=b.exe"),
        ("Content-Disposition: attachment; filename=a.txt", "Content-Type: application/zip; name=b.exe"),
        ("Content-Type: application/zip; name=a.txt", "Content-Type: application/zip; name=b.exe"),
        ("Content-Disposition: attachment; filename=a.txt", "Content-Type: application/zip; filename=b.exe"),
    ],
)
def test_every_field_that_names_it(fields):
    assert part_of(*fields).names == ("a.txt", "b.exe")


@pytest.mark.parametrize(
    "parameter", ['filename="report (1).pdf"', "filename*=utf-8''r%C3%A9sum%C3%A9.pdf", "filename=report.pdf; size=10"]
)
def test_proper_names_have_one_reading(parameter):
    assert len(part_of(f"Content-Disposition: attachment; {parameter}").names) == 1


def test_names_are_bounded():
    many = "; ".join(f"filename={number}.txt" for number in range(1000))
    assert len(part_of(f"Content-Disposition: attachment; {many}").names) == MAX_NAMES
    fields = [f"Content-Disposition: attachment; filename={number}.txt" for number in range(1000)]
    assert len(part_of(*fields).names) == MAX_NAMES


def test_more_names_than_are_told_leave_a_limit():
    """A mail with so many is never clean: the name that counts may be any of them."""
    many = "; ".join(f"filename={number}.txt" for number in range(MAX_NAMES + 1))
    assert Defect.LIMIT_NAMES in part_of(f"Content-Disposition: attachment; {many}").defects
    few = many.rpartition(";")[0]
    assert Defect.LIMIT_NAMES not in part_of(f"Content-Disposition: attachment; {few}").defects
    types = [f"Content-Type: text/x{number}" for number in range(20)]
    assert Defect.LIMIT_NAMES in part_of(*types).defects


@pytest.mark.parametrize("length", [999, 1000, 1001, 100_000])
def test_a_long_name_keeps_its_ending(length):
    (name,) = part_of(f"Content-Disposition: attachment; filename={'n' * (length - 4)}.exe").names
    assert name.endswith("nn.exe")
    assert len(name) == min(length, 1000)


@pytest.mark.parametrize("words", ["x; " * 50_000, "filename=x; y; " * 20_000, "filename*9=x; " * 20_000])
def test_many_odd_parameters_end(words):
    """Sizes at which anything quadratic would not end."""
    assert part_of("Content-Disposition: attachment; filename=" + "y" * 200_000 + "; " + words).names


def test_every_declared_type():
    part = part_of("Content-Type: text/plain", "Content-Type: application/x-msdownload", "Content-Type: text/plain")
    assert (part.content_type, part.other_types) == ("text/plain", ("application/x-msdownload",))


def test_boundary_without_a_type():
    """Found by scanners that look at the boundary only, though no line is exactly a delimiter."""
    content = (
        b"Content-Type: boundary=b\r\n\r\n--b X\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(PAYLOAD)
        + b"--b--\r\n"
    )
    assert PAYLOAD in readings(content)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 6, 7, 22, 1000])
@pytest.mark.parametrize("padding", [b"=", b"==", b"===", b"==\r\n"])
def test_padding_that_some_readers_pass_over(at, padding):
    # base64_decode of PHP, and Python from 3.14, go on in the midst of a group.
    text = base64.b64encode(PAYLOAD)
    body = text[:at] + padding + text[at:]
    assert PAYLOAD in readings(b"Content-Transfer-Encoding: base64\r\n\r\n" + body)


@pytest.mark.parametrize("padding", [b"", b"=="])
def test_digits_of_urls(padding):
    text = base64.urlsafe_b64encode(PAYLOAD)
    assert {*b"-_"} <= {*text}
    body = text[:2] + padding + text[2:]
    assert PAYLOAD in readings(b"Content-Transfer-Encoding: base64\r\n\r\n" + body)


def test_padding_inside_groups():
    text = base64.b64encode(PAYLOAD[:200] + b"!").decode()
    groups = [base64.b64encode(PAYLOAD[at : at + 2]).decode() for at in range(0, 200, 2)]
    odd = "".join(f"{group[:2]}={group[2]}" for group in groups)
    content = f"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n{odd}\r\n"
    assert PAYLOAD[:200] in readings(content.encode())
    assert len(readings(content.replace(odd, text).encode())) == 1


@pytest.mark.parametrize("odd", ["=XX", "= ", "=0a", "=zz"])
def test_escapes_that_some_readers_drop(odd):
    hidden = "".join(f"{odd}={byte:02X}=\r\n" for byte in b"MZ hidden")
    content = (
        f"Content-Disposition: attachment; filename=a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{hidden}"
    )
    assert any(b"MZ hidden" in data for data in readings(content.encode()))


def test_an_equals_sign_that_some_readers_take_for_itself():
    # Perl and PHP: of `==4D` the first stands as it is, the second begins an escape. Others take the two for one.
    hidden = b"x==4D" + b"".join(b"==%02X" % byte for byte in b"Z hidden")
    content = (
        b"Content-Disposition: attachment; filename=a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + hidden
    )
    assert b"x=M" + b"".join(b"=%c" % byte for byte in b"Z hidden") in readings(content)


def test_proper_quoted_printable_has_one_reading():
    content = b"Content-Disposition: attachment; filename=a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    root = parse(content + b"a =3D b =\r\nc= \r\n=C3=A9\r\n=").root
    assert root.encoding is Encoding.QUOTED_PRINTABLE
    assert root.alternatives == []


FILE = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(
    PAYLOAD
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b'multipart/mixed; (boundary=zz) boundary="abc"', b"--decoy\r\n--abc\r\n" + FILE),
        (b"=?us-ascii?Q?multipart/mixed;_boundary=3Dabc?=", b"--decoy\r\n--abc\r\n" + FILE),
        (b'multipart/mixed; boundary="=?us-ascii?Q?abc?="', b"--decoy\r\n--abc\r\n" + FILE),
        (b"multipart/mixed", b"--decoy\r\n--abc\r\n" + FILE),
        (b"message/rfc822; boundary=abc", b"--abc\r\n" + FILE),
        (b"text/plain; boundary=abc", b"--abc\r\n" + FILE),
        (b"multipart/mixed; boundary=abc", b"--abc\r\n\r\nx\r\n\r--abc\r\n" + FILE + b"--abc--\r\n"),
        (b"multipart/mixed; boundary=abc", b"--abc\r\n\r\nx\r\n--abc\r" + FILE + b"--abc--\r\n"),
        (b"multipart/mixed; boundary=abc", b"--abc\r\nX y\r\n" + FILE.replace(b"\r\n\r\n", b"\r\n\r\r\n", 1)),
        (
            b"multipart/mixed; boundary=abc",
            b"--abc\r\n"
            + FILE.replace(b"application/octet-stream", b"multipart/x").replace(b": base64", b": x-base64"),
        ),
    ],
)
def test_multiparts_that_some_readers_see(kind, body):
    assert PAYLOAD in readings(b"Subject: x\r\nContent-Type: " + kind + b"\r\n\r\n" + body)


def test_a_bare_carriage_return_elsewhere_is_read_once():
    content = b"Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\nx\ry\r\n--abc--\r\n"
    assert parse(content).root.alternatives == []


def test_what_is_read_otherwise_is_named():
    assert Defect.BOUNDARY_AMBIGUOUS in part_of("Content-Type: boundary=b", body=b"--b X\r\n\r\ntext\r\n--b--").defects
