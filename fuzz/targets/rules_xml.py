"""Rule files in XML, as administrators and older servers wrote them: read, or refused with a reason; never more.

What is read is written again in every encoding, and reads back equal.
"""

from collections.abc import Iterator
from typing import Final

from gatepost.config.load import load_text
from gatepost.config.old_server import RULES, build_from_old_server
from gatepost.config.old_server_file import read_old_file
from gatepost.config.problem import Form
from gatepost.config.profiles_xml import read_xml_set
from gatepost.config.profiles_xml_reading import CODECS
from gatepost.config.profiles_xml_writing import build_xml_set

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 900

_FILES: Final = (
    "profiles/a.xml", "hidden/formal.xml", "profiles.xml", "emails/a.xml", "iplists/a.xml", "dnsblacklists/a.xml",
    "emails.xml", "samples.xml", "settings.xml", "catlist.xml",
)  # fmt: skip
_AROUND: Final = {"settings.xml": b"<Settings/>", "emails/a.xml": b"<EMailList/>", "samples/a.txt": b"buy"}
_ENCODINGS: Final = tuple(CODECS)


def execute(data: bytes) -> None:
    """Read the input as the file that its first byte names, among others; and as an older server's settings."""
    if not data:
        return
    found = read_xml_set({**_AROUND, _FILES[data[0] % len(_FILES)]: data[1:]})
    if found.rules is not None:
        again = read_xml_set(build_xml_set(found.rules, _ENCODINGS[data[0] % len(_ENCODINGS)]))
        assert again.rules == found.rules, again.problems
    else:
        assert found.problems
    old = read_old_file(data[1:].decode("latin-1"), "old.conf")
    if old is not None and old.form in RULES:
        # Whatever the file says is a comment or a value: nothing of it becomes a line of its own.
        assert load_text(build_from_old_server(old, "mx.example.org"), "new.toml", Form.TOML).readable


def seeds() -> Iterator[bytes]:
    """Yield files of each kind."""
    profile = (
        '<Profile name="a" rcpt="a@b.c;@d.e"><Comment>x</Comment><!-- y --><Rule><Conditions><IPFrom mask="1.2.3.4" not="yes"/>'
        '<HeaderMatch header="S" regexp="a&#10;b"/></Conditions><Actions><DoSyslog>z</DoSyslog><DoRcptAdd new="a@b"/></Actions></Rule>'
        "</Profile>"
    )
    texts = (
        profile,
        "<!-- ALLOW_UPDATES=yes --><Profile><Comment xml:space='preserve'> a </Comment></Profile>",
        '<?xml version="1.0" encoding="koi8-r"?><Profiles><Common><ProfileRef file="a.xml" active="no"/></Common></Profiles>',
        '<EMailList name="a"><!-- b --><EMail address=" @c "/></EMailList>',
        '<IPList><IP mask="1.2.3.4/5"/></IPList>',
        '<DNSBlackList><Service zone="a.b" description="c"/></DNSBlackList>',
        '<L><EMailListRef file="a.xml" name="b"/></L>',
        '<S><SampleRef file="a.txt" category="a/b"/></S>',
        '<Settings><BounceMessage>a<b/></BounceMessage><RejectMessage text="c"/></Settings>',
        '<Categories><Category ID="a/b" title="c"/></Categories>',
    )
    for number, text in enumerate(texts):
        yield bytes((number,)) + text.encode()
    yield b"\x00ServerListen tcp:1.2.3.4:5\nClientOnError accept\nPipeListen unix:/x\nSendMailAddress unix:/y\n"
    yield b"\x00Listen tcp:1.2.3.4:5\nFilterParam -a -m 5 -r 6 'x\nStartFilters=1\n"


WORDS: Final = (
    b"<Profile", b"<Rule>", b"</Rule>", b"<Conditions>", b"<Actions>", b"<DoReject/>", b"<Category id=", b'"a"', b"not=", b"comment=",
    b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<!DOCTYPE", b"<!ENTITY", b"&amp;", b"&#", b";", b'encoding="', b"ibm866", b"x-mac-cyrillic",
    b"\xef\xbb\xbf", b"<?xml", b"?>", b"xmlns=", b"rcptlist=", b"../", b"DoHeaderAdd", b"FilterParam", b"tcp:", b"unix:/",
)  # fmt: skip
