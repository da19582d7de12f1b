"""Files of databases: what is accepted compiles and means what it says, what is wrong is told with its line."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Final

import yara_x
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatepost.antivirus.hashes import HashIndex, build_tables
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.signatures import (
    BadSignature,
    ContainerRule,
    HashSignature,
    Pattern,
    parse_container,
    parse_good,
    parse_hash,
    parse_ignored,
    parse_pattern,
    read_lines,
)
from gatepost.feeds.keys import BadSignatureFile, key_id, sign, verify

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 400
_READERS: Final[tuple[Callable[[str], object], ...]] = (
    parse_hash, parse_good, parse_pattern, parse_container, parse_ignored,
)  # fmt: skip
_SIGNED: Final = b"content of a manifest"


@functools.cache
def _key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def execute(data: bytes) -> None:
    """Read the input as the kind of file its first byte says."""
    if not data:
        return
    which, rest = data[0] % 6, data[1:]
    if which == len(_READERS):
        _verify(rest)
        return
    text = rest.decode("utf-8", "replace")
    found: list[object] = []
    try:
        found.extend(read_lines(text, _READERS[which]))
    except BadSignature as error:
        assert 1 <= error.line <= len(text.splitlines())
        assert str(error)
    hashes = [each for each in found if isinstance(each, HashSignature)]
    if hashes:
        _look_up(hashes)
    for each in found:
        if isinstance(each, Pattern):
            _compile(each)
        elif isinstance(each, ContainerRule):
            for size in (0, each.low, each.high, each.high + 1):
                assert not each.fits("a.exe", Kind.ZIP, size) or each.low <= size <= each.high


def _look_up(signatures: list[HashSignature]) -> None:
    index = HashIndex(build_tables(signatures))
    assert index.find(b"abc")[0] in {"", *(each.name for each in signatures)}
    for table in build_tables(signatures):
        assert len(table.digests) == table.width * len(table.sizes) // 8


def _compile(pattern: Pattern) -> None:
    compiler = yara_x.Compiler()
    compiler.add_source(f"rule a {{ strings: $p0 = {{ {pattern.hexadecimal} }} condition: any of them }}")
    yara_x.Scanner(compiler.build()).scan(b"abc")
    for offset in (0, 1, 5):
        pattern.fits(offset, 10)


def _verify(rest: bytes) -> None:
    trusted = {key_id(_key().public_key()): _key().public_key()}
    sound = sign(_SIGNED, [_key()])
    with contextlib.suppress(BadSignatureFile):
        assert verify(_SIGNED, rest, trusted) in trusted
        assert sound.split()[2].rstrip(b"=") in rest
    with contextlib.suppress(BadSignatureFile):
        verify(rest or b"x", sound, trusted)
        assert rest == _SIGNED


WORDS: Final = (
    b"ed25519 ", b":*:", b":any:", b":pe:", b"EOF-", b"??", b"*", b"{4-8}", b"{-4}", b"(aa|bb)", b"00112233", b"Evil.A", b"Heuristic.", b"zip,rar", b"*.exe", b"\n",
    b"# ", b":0-100:", b":executable:", b"4d5a9000", b"5-", b"900150983cd24fb0d6963f7d28e17f72:3:",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield files of each kind."""
    digest = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    yield b"\0# x\n900150983cd24fb0d6963f7d28e17f72:3:Evil.Md5\n%b:*:Evil.Sha\n" % digest
    yield b"\1%b:3:Good\n" % digest
    yield b"\2Evil.A:*:0,5:4d5a9000??(aa|bbcc)*{4-8}50450000\nEvil.B:*:EOF-20:0011223344\nEvil.C:*:*:61626364[2]\n"
    yield b"\3Evil.Lnk:zip,rar:*.lnk,a?.exe:0-100:lnk:a shortcut\nEvil.X:*:*:5-:*:anything\n"
    yield b"\4Evil.*\nHeuristic.A?\n"
    yield b"\5" + sign(_SIGNED, [_key()])
    yield b"\5" + _SIGNED
