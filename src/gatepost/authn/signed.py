"""What was signed: digests of header fields and body for all signatures of one message.

Called in the filter, by `antispam.authn_material`. Linear: every field is brought into a form once, the body once for
each form, however many signatures there are.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec

from gatepost.authn.canonical import body_pieces, relaxed_field, simple_field
from gatepost.authn.signature import Signature
from gatepost.mime.part import Field
from gatepost.model.authn import SignatureMaterial

_OWN_VALUE = re.compile(rb";[ \t\r\n]*b[ \t\r\n]*=([^;]*)")
_BodyKey = tuple[bool, int | None]


class SignedContent:
    """One message, as received."""

    def __init__(self, content: bytes, fields: Sequence[Field], body: int) -> None:
        self.content = content
        self.fields = fields
        self._body = body
        self._by_name: dict[bytes, list[Field]] | None = None
        self._forms: dict[tuple[int, bool], bytes] = {}
        self._hashes: dict[_BodyKey, tuple[bytes, bool]] = {}

    def form(self, field: Field, *, relaxed: bool) -> bytes:
        """Return the canonical form of a field, without its last line end."""
        key = (field.start, relaxed)
        form = self._forms.get(key)
        if form is None:
            if relaxed:
                form = relaxed_field(field.name, self.content[field.value : field.value_end])
            else:
                form = simple_field(self.content[field.start : field.end])
            self._forms[key] = form
        return form

    def own_form(self, field: Field, *, relaxed: bool) -> bytes:
        """Return the form of a signature's own field: the value of `b=` is not in it (RFC 6376 §3.7)."""
        name, colon, value = self.form(field, relaxed=relaxed).partition(b":")
        found = _OWN_VALUE.search(b";" + value)
        if found is None:
            return name + colon + value
        start, end = found.span(1)
        return name + colon + value[: start - 1] + value[end - 1 :]

    def header_digest(self, field: Field, signature: Signature) -> bytes:
        """Return the digest of what a signature signs (RFC 6376 §3.7). A name that occurs again takes the next field
        further up; one without a field adds nothing (§5.4.2).
        """
        relaxed = signature.relaxed_header
        by_name = self._index()
        used: dict[bytes, int] = {}
        forms = []
        for name in map(str.encode, signature.fields):
            fields = by_name.get(name, ())
            taken = used[name] = used.get(name, 0) + 1
            if taken <= len(fields):
                forms.append(self.form(fields[-taken], relaxed=relaxed))
        forms.append(self.own_form(field, relaxed=relaxed))
        return hashlib.sha256(b"\r\n".join(forms)).digest()

    def hash_bodies(self, signatures: Iterable[Signature]) -> None:
        """Hash the body for all these signatures at once: one pass for each canonical form."""
        wanted = {(each.relaxed_body, each.length) for each in signatures} - self._hashes.keys()
        for relaxed in {form for form, _ in wanted}:
            lengths = [length for form, length in wanted if form is relaxed]
            for length, found in _hash_body(body_pieces(self.content, self._body, relaxed=relaxed), lengths).items():
                self._hashes[relaxed, length] = found

    def material(self, field: Field, signature: Signature) -> SignatureMaterial:
        """Return what is left to check with the key. `hash_bodies` has been called."""
        digest, partial = self._hashes[signature.relaxed_body, signature.length]
        return SignatureMaterial(
            signature.domain,
            signature.selector,
            signature.algorithm,
            self.header_digest(field, signature),
            signature.signature,
            signature.identity,
            signature.fields,
            signature.timestamp,
            signature.expires,
            digest == signature.body_hash,
            partial,
        )

    def _index(self) -> dict[bytes, list[Field]]:
        if self._by_name is None:
            self._by_name = {}
            for field in self.fields:
                self._by_name.setdefault(field.name, []).append(field)
        return self._by_name


class _Hasher(msgspec.Struct):
    """The hash of the first `left` bytes of a body; None: of all."""

    left: int | None
    sum: "hashlib._Hash"
    over: bool = False
    """There was more."""

    def update(self, piece: bytes) -> None:
        if self.left is None:
            self.sum.update(piece)
            return
        self.over = self.over or len(piece) > self.left
        if self.left:
            self.sum.update(piece[: self.left])
            self.left -= min(self.left, len(piece))


def _hash_body(pieces: Iterable[bytes], lengths: list[int | None]) -> dict[int | None, tuple[bytes, bool]]:
    """Return for each length (None: no limit) the hash, and whether some of the body is beyond it.

    A body shorter than the length has no hash: it is not what was signed (RFC 6376 §3.5 `l=`).
    """
    hashers = {length: _Hasher(length, hashlib.sha256()) for length in lengths}
    for piece in pieces:
        for hasher in hashers.values():
            hasher.update(piece)
    return {length: (b"" if hasher.left else hasher.sum.digest(), hasher.over) for length, hasher in hashers.items()}
