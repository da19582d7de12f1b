"""The tree: readings, names, limits, hostile shapes. Sizes are chosen so that anything quadratic would not end."""

import base64
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.mime.blocks import decode_block, find_uu_blocks
from gatepost.mime.decode import decode_base64, decode_body, decode_quoted_printable
from gatepost.mime.part import Defect, Encoding, MimeLimits, PartKind
from gatepost.mime.structure import parse
from gatepost.mime.words import decode_header

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def decoded(content):
    return [decode_body(holder.content, part).data for holder, part in parse(content).leaves()]


def one(header, body=b"x\r\n"):
    return parse(header + b"\r\n\r\n" + body).root


def test_tree_of_a_nested_multipart():
    content = (
        b"From: a@b\r\n" + MIXED + b"pre\r\n--b\r\nContent-Type: multipart/alternative; boundary=bb\r\n\r\n"
        b"--bb\r\n\r\none\r\n--bb\r\nContent-Type: text/html\r\n\r\ntwo\r\n--bb--\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ninner\r\n--b--\r\nepi\r\n"
    )
    message = parse(content)
    seen = [(part.kind.value, part.content_type, content[part.body : part.end]) for part in message.walk()]
    assert seen[1] == ("preamble", "text/plain", b"pre")
    assert ("part", "text/plain", b"one") in seen
    assert ("part", "text/html", b"two") in seen
    assert ("part", "text/plain", b"inner") in seen
    assert seen[-1] == ("epilogue", "text/plain", b"epi\r\n")
    assert message.defects() == ()
    assert not message.truncated
    first, second = message.root.children
    assert content[first.delimiter[0] :].startswith(b"--b\r\nContent-Type: multipart")
    assert first.delimiter[1] == second.delimiter[0]
    assert content[second.delimiter[1] :].startswith(b"--b--")


@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
def test_fields_are_exact_ranges(eol):
    content = eol.join([b"Subject: a", b"\tb", b"Content-Type: text/html", b"", b"body"])
    root = parse(content).root
    assert [content[f.start : f.end] for f in root.fields] == [
        b"Subject: a" + eol + b"\tb" + eol,
        b"Content-Type: text/html" + eol,
    ]
    assert [content[f.value : f.value_end] for f in root.fields] == [b" a" + eol + b"\tb", b" text/html"]
    assert content[root.body : root.end] == b"body"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'Content-Type: a/b; name="x.exe"', "x.exe"),
        (b"Content-Type: a/b; name=my file.exe", "my file.exe"),
        (b"Content-Type: a/b; name*=utf-8''%c3%a4.exe", "ä.exe"),
        (b"Content-Type: a/b; name*1=.exe; name*0=x", "x.exe"),
        (b"Content-Type: a/b; name*0*=utf-8''%c3; name*1*=%a4; name*2=.exe", "ä.exe"),
        (b'Content-Type: a/b; name="=?utf-8?B?w6QuZXhl?="', "ä.exe"),
        (b'Content-Type: a/b; name="C:\\\\dir\\\\x.exe"', "x.exe"),
        (b"Content-Disposition: attachment; filename=d.exe\r\nContent-Type: a/b; name=c.txt", "d.exe"),
        (b"Content-Disposition: attachment; filename=\"a.txt\"; filename*=utf-8''b.exe", "b.exe"),
        (b"Content-Type: a/b;\r\n name=\r\n x.exe", "x.exe"),
    ],
)
def test_file_names(header, name):
    assert one(header).name == name


def test_all_names_are_kept():
    part = one(b"Content-Disposition: attachment; filename=a.txt\r\nContent-Type: a/b; name=c.exe")
    assert part.names == ("a.txt", "c.exe")


def test_duplicate_encoding_first_wins_and_the_other_is_a_reading():
    part = one(b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit", b"QUJD\r\n")
    assert part.encoding is Encoding.BASE64
    assert [reading.encoding for reading in part.alternatives] == [Encoding.IDENTITY]
    assert Defect.DUPLICATE_FIELD in part.defects


def test_duplicate_type_both_readings():
    content = (
        b"Content-Type: text/plain\r\n"
        + MIXED
        + b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nRVZJTA==\r\n--b--\r\n"
    )
    assert parse(content).root.content_type == "text/plain"
    assert b"EVIL" in decoded(content)


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: multipart/mixed\r\n\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b"Content-Type: multipart/mixed; boundary=wrong\r\n\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b"Content-Type: multipart/mixed; boundary=x; boundary=q\r\n\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nEVIL\r\n----\r\n',
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--q\r\n\r\nx\r\n--\r\n\r\nEVIL\r\n--\r\n",
        b'Content-Type: multipart/mixed; boundary="q "\r\n\r\n--q  \r\n\r\nEVIL\r\n--q--\r\n',
        b"Content-Type: multipart/mixed; boundary=q\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nEVIL",
        b"Content-Type: multipart/mixed; boundary=qq\r\n\r\n--qq\r\n\r\nx\r\n--qqz\r\n\r\nEVIL\r\n--qqz--\r\n",
        b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nx\r\n--q--\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b"Content-Type: (c)multipart/mixed; boundary=q\n\n--q\n\nEVIL\n--q--\n",
        b"Content-Type: x-multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b"X: a\rContent-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b"From x Mon\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nEVIL\r\n--q--\r\n",
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(b"A: b\r\n\r\nEVIL"),
        b"Content-Transfer-Encoding: base64\r\njunk\r\n\r\nRVZJTA==\r\n",
        b"junk\r\nContent-Transfer-Encoding: base64\r\n\r\nRVZJTA==\r\n",
        b"Content-Transfer-Encoding: bas(x)e64\r\n\r\nRVZJTA==\r\n",
        b"Content-Transfer-Encoding: my-base64\r\n\r\nRVZJTA==\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\nQQ==RVZJTA==\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\nR*VZ-J\r\n TA\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\nRVZJX\r\nTA==\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=45= \r\nVI=\r=4C",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n$15=)3```\r\n`\r\nend\r\n".replace(
            b"$15=)3```", b"$159)3```"
        ),
    ],
)
def test_hidden_content_is_in_some_object(content):
    assert any(b"EVIL" in data and len(data) <= 8 for data in decoded(content)), decoded(content)


def test_inner_boundary_that_extends_the_outer_is_no_doubt():
    content = (
        MIXED
        + b"--b\r\nContent-Type: multipart/mixed; boundary=bx\r\n\r\n--bx\r\n\r\none\r\n--bx--\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    )
    assert parse(content).defects() == ()
    assert decoded(content) == [b"one", b"two"]


def test_uu_blocks_in_text():
    text = b"hello\r\nbegin 644 ../x.exe\r\n#04)#\r\n`\r\nend\r\nbye\r\nbegin to think\r\n"
    (block,) = find_uu_blocks(text, 0, len(text))
    assert (block.name, decode_block(text, block)) == ("x.exe", (b"ABC", False))
    assert text[block.start : block.end].endswith(b"end\r\n")
    assert find_uu_blocks(b"begin 644 a\nplease call me\n", 0, 27) == []


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b" =?utf-8?Q?a=C3?=\r\n =?utf-8?Q?=A4b?= c", "aäb c"),
        (b"=?iso-8859-1?q?=e4?=", "ä"),
        (b"=?nonsense?q?a?= =?utf-8?b?Yg?=", "ab"),
        (b"caf\xe9", "café"),
        (b"=?punycode?q?a?=", "a"),
    ],
)
def test_encoded_words(raw, text):
    assert decode_header(raw) == text


@pytest.mark.parametrize(
    ("limits", "content", "defect"),
    [
        (MimeLimits(parts=5), MIXED + b"--b\r\n\r\nx\r\n" * 9 + b"--b--\r\n", Defect.LIMIT_PARTS),
        (MimeLimits(depth=3), b"Content-Type: message/rfc822\r\n\r\n" * 4 + b"x", Defect.LIMIT_DEPTH),
        (MimeLimits(header_bytes=100), b"A: " + b"a" * 100 + b"\r\n\r\nx", Defect.LIMIT_HEADER),
        (MimeLimits(fields=3), b"A: b\r\n" * 4 + b"\r\nx", Defect.LIMIT_FIELDS),
        (MimeLimits(search_bytes=1, search_factor=0), MIXED + b"--b\r\n\r\nx\r\n--b--\r\n", Defect.LIMIT_SEARCH),
        (
            MimeLimits(nested_bytes=10),
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 3,
            Defect.LIMIT_NESTED,
        ),
    ],
)
def test_limits_say_so(limits, content, defect):
    message = parse(content, limits)
    assert message.truncated
    assert defect in message.defects()
    assert not parse(content).truncated


def test_no_byte_is_lost_at_the_parts_limit():
    content = MIXED + b"".join(b"--b\r\n\r\nn%d\r\n" % n for n in range(50)) + b"--b--\r\n"
    last = parse(content, MimeLimits(parts=10)).root.children[-1]
    assert b"n49" in content[last.body : last.end]


def _levels(count):
    opened = b"".join(b"Content-Type: multipart/mixed; boundary=b%dz\r\n\r\n--b%dz\r\n" % (n, n) for n in range(count))
    return opened + b"\r\nx\r\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"Subject: " + b"a" * 10_000_000 + b"\r\n\r\nx", id="header-line-10MB"),
        pytest.param(MIXED + b"--b\r\n\r\nx\r\n" * 15_000 + b"--b--\r\n", id="15000-parts"),
        pytest.param(_levels(1000), id="1000-levels"),
        pytest.param(_levels(10_000), id="10000-levels"),
        pytest.param(b"Content-Type: message/rfc822\r\n\r\n" * 10_000, id="10000-messages"),
        pytest.param(b"Content-Type: a/b; " + b"".join(b"name*%d=a;" % n for n in range(20_000)), id="rfc2231"),
        pytest.param(
            b"Content-Type: multipart/mixed; boundary=" + b"b" * 10_000 + b"\r\n\r\n--" + b"b" * 5_000_000,
            id="boundary-10KB",
        ),
        pytest.param(b"Content-Type: a/b; " + b"(" * 100_000 + b"\r\n\r\nx", id="comments"),
        pytest.param(b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 5_000_000, id="base64-one-line"),
        pytest.param(b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QQ==" * 300_000, id="base64-pads"),
        pytest.param(MIXED + b"\n--bx" * 50_000, id="suspects"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=\r\n" + b"\n--" * 1_000_000, id="empty-boundary"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=\r\n" + b"\n--x" * 100_000, id="empty-suspects"),
        pytest.param(b"begin 644 a\n" * 70_000, id="begin-lines"),
        pytest.param(b"\0" * 2_000_000, id="nul"),
    ],
)
def test_hostile_shapes_end(content):
    tracemalloc.start()
    message = parse(content)
    for holder, part in message.leaves():
        decode_body(holder.content, part)
        find_uu_blocks(holder.content, part.body, part.end)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000 + 6 * len(content)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_decoders_take_anything(raw):
    decode_base64(raw)
    decode_quoted_printable(raw)
    decode_header(raw)
    for encoding in Encoding:
        part = parse(b"\r\n" + raw).root
        part.encoding = encoding
        decode_body(b"\r\n" + raw, part)


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_base64_round_trip(data):
    assert decode_base64(base64.encodebytes(data)).data == data


_PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"--b",
        b"--b--",
        b"--",
        b"Content-Type: ",
        b"multipart/mixed; boundary=b",
        b"message/rfc822",
        b"Content-Transfer-Encoding: base64",
        b"quoted-printable",
        b"QUJD",
        b"=",
        b" ",
        b":",
        b'"',
        b"name*0*=",
        b"\0",
        b"(",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_PIECES, st.binary(max_size=5)), max_size=60).map(b"".join))
def test_never_raises_and_ranges_are_inside(content):
    message = parse(content)
    for part in message.walk():
        assert 0 <= part.start <= part.body <= part.end <= len(content)
        if part.kind is PartKind.PART and part.parent is not None:
            assert part.parent.start <= part.start
            assert part.end <= part.parent.end
    decoded(content)
