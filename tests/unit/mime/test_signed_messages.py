"""Which signatures a message has, and what its analysis says of them."""

import pytest

from gatepost.mime.disclaimer import annotate
from gatepost.mime.signatures import find_signatures
from gatepost.mime.structure import parse
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus, ScanOptions

DKIM = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=k; h=from; bh=AAAA; b=BBBB\r\n"
ARC = b"ARC-Message-Signature: i=1; a=rsa-sha256\r\n"
PLAIN = b"Subject: x\r\n\r\nhello\r\n"
SMIME = b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n'
PGP_MIME = (
    b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n'
)
ENVELOPED = b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nAAAA\r\n"
INLINE = b"Subject: x\r\n\r\nsee:\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nAAAA\r\n-----END PGP MESSAGE-----\r\n"
ENCODED = b"Content-Transfer-Encoding: base64\r\n\r\nLS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0tCgpBQUFBCg==\r\n"  # the same


@pytest.mark.parametrize(
    ("content", "signatures"),
    [
        (PLAIN, ()),
        (DKIM + PLAIN, ("dkim",)),
        (ARC + PLAIN, ("dkim",)),
        (SMIME, ("smime",)),
        (ENVELOPED, ("smime",)),
        (PGP_MIME, ("pgp",)),
        (PGP_MIME.replace(b"signed", b"encrypted").replace(b"pgp-signature", b"pgp-encrypted"), ("pgp",)),
        (INLINE, ("pgp",)),
        (ENCODED, ("pgp",)),
        (DKIM + SMIME, ("dkim", "smime")),
        (b"Content-Type: message/rfc822\r\n\r\n" + SMIME, ("smime",)),
        # not its own: a signature of a quoted message covers nothing that is sent
        (b"Content-Type: message/rfc822\r\n\r\n" + DKIM + PLAIN, ()),
        (b"Content-Type: text/plain; name=a.asc\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n", ()),
        (b"Subject: x\r\n\r\nas in -----BEGIN PGP MESSAGE-----\r\n", ()),
    ],
)
def test_signatures(content, signatures):
    assert find_signatures(parse(content)) == signatures


def analysis(status: ObjectStatus) -> Analysis:
    return Analysis((ObjectReport(-1, ObjectKind.PART, status),))


def test_clean_mail_is_not_looked_at_without_need():
    clean = analysis(ObjectStatus.CLEAN)
    assert annotate(clean, DKIM + PLAIN, ScanOptions()) is clean


def test_what_is_edited_or_added_to_has_its_signatures():
    found = annotate(analysis(ObjectStatus.INFECTED), DKIM + PLAIN, ScanOptions())
    assert (found.signatures, found.spots) == (("dkim",), ())
    asked = annotate(analysis(ObjectStatus.CLEAN), DKIM + PLAIN, ScanOptions(text_spots=True))
    assert asked.signatures == ("dkim",)
    assert len(asked.spots) == 1
