"""The open line formats of signature files: one signature a line, `#` begins a comment line.

Read where databases are built and compiled. Promises: what is accepted here compiles; what is wrong raises
`BadSignature` with the number of the line. docs/manual/databases.md describes the formats.
"""

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from gatepost.antivirus.engine import Outcome
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.scope import Scope

Parsed = TypeVar("Parsed")

ANY_SIZE = (1 << 64) - 1
"""Size of a hash signature that holds for every size: sorts behind all real ones."""
NAME_LIMIT = 120
ALGORITHMS = {16: "md5", 20: "sha1", 32: "sha256"}
"""Hash by length of the digest in bytes."""
FEWEST_BYTES = 4
"""Known bytes in a row a pattern must have: shorter ones match by chance and slow the search for all others."""
LONGEST_PATTERN = 16_384
"""Characters of a pattern's hexadecimal form."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@!+~-]*\Z")
_TOKEN = re.compile(
    r"(?P<byte>[0-9a-fA-F?]{2})|(?P<star>\*)|\{(?P<low>\d{0,5})(?P<dash>-?)(?P<high>\d{0,5})\}|\((?P<choice>[0-9a-fA-F?|]+)\)"
)
_ANCHOR = re.compile(r"(?P<end>EOF-)?(?P<at>\d{1,12})(?:,(?P<span>\d{1,12}))?\Z")
_SIZE = re.compile(r"(\d{1,15})?(-)?(\d{1,15})?\Z")


class BadSignature(Exception):  # noqa: N818 - what the line is
    """A line that is no signature. The text says why; `line` counts from 1, 0 when there is none."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


class HashSignature(msgspec.Struct, frozen=True):
    """A whole object, known by its digest."""

    digest: bytes
    size: int
    """In bytes, or `ANY_SIZE`."""
    name: str


class Pattern(msgspec.Struct, frozen=True, array_like=True):
    """Bytes inside an object."""

    name: str
    scope: Scope
    hexadecimal: str
    """In the form of the rule language's hexadecimal strings."""
    at: int = -1
    """Where it must begin, -1: anywhere."""
    span: int = 0
    """How much later it may begin."""
    from_end: bool = False
    """`at` counts backwards from the end."""

    def fits(self, offset: int, size: int) -> bool:
        """Tell whether a match at `offset` of an object of `size` bytes stands where it must."""
        if self.at < 0:
            return True
        low = size - self.at if self.from_end else self.at
        return low <= offset <= low + self.span


class ContainerRule(msgspec.Struct, frozen=True, array_like=True):
    """A member of a container, known by what it is and where it is."""

    name: str
    containers: tuple[Kind, ...]
    """() = in a container of any kind."""
    masks: tuple[str, ...]
    """Of the member's name, in lower case; () = any name."""
    low: int
    high: int
    """Bounds of its size."""
    kinds: tuple[Kind, ...]
    """Of the member; () = any kind."""
    evidence: str

    def fits(self, name: str, kind: Kind | None, size: int) -> bool:
        """Tell whether a member is meant; its container is."""
        return (
            (not self.kinds or kind in self.kinds)
            and self.low <= size <= self.high
            and (not self.masks or any(fnmatch.fnmatchcase(name.lower(), mask) for mask in self.masks))
        )


def outcome_of(name: str) -> Outcome:
    """Return what a threat's name says: `Heuristic.` and `Suspicious.` are no certainties."""
    return Outcome.SUSPICIOUS if name.startswith(("Heuristic.", "Suspicious.")) else Outcome.INFECTED


def parse_hash(line: str) -> HashSignature:
    """Read `DIGEST:SIZE:NAME`; the digest's length tells MD5, SHA-1 or SHA-256; SIZE `*` = any. BadSignature."""
    digest_text, size_text, name = _fields(line, 3)
    try:
        digest = bytes.fromhex(digest_text)
    except ValueError:
        raise BadSignature(f"{digest_text!r} is not hexadecimal") from None
    if len(digest) not in ALGORITHMS:
        raise BadSignature(f"a digest of {len(digest)} bytes is neither MD5 nor SHA-1 nor SHA-256")
    if size_text != "*" and not (size_text.isdigit() and len(size_text) < 16):
        raise BadSignature(f"size {size_text!r} is neither a number nor *")
    return HashSignature(digest, ANY_SIZE if size_text == "*" else int(size_text), _name(name))


def parse_good(line: str) -> HashSignature:
    """Read a known-good object, in the same form. Only SHA-256 will do: the others can be forged. BadSignature."""
    signature = parse_hash(line)
    if len(signature.digest) != 32:
        raise BadSignature("what is known to be good must be named by its SHA-256")
    return signature


def parse_pattern(line: str) -> Pattern:
    """Read `NAME:SCOPE:OFFSET:HEX` (`??`, `*`, `{n-m}`, `(aa|bb)`; OFFSET `*`, `n`, `n,m`, `EOF-n`). BadSignature."""
    name, target, offset, hexadecimal = _fields(line, 4)
    try:
        scope = Scope.ANY if target == "*" else Scope(target)
    except ValueError:
        raise BadSignature(f"no scope {target!r}: one of {', '.join(Scope)}") from None
    at, span, from_end = _parse_anchor(offset)
    return Pattern(_name(name), scope, _translate(hexadecimal), at, span, from_end)


def parse_container(line: str) -> ContainerRule:
    """Read `NAME:CONTAINERS:MASKS:SIZE:KINDS:EVIDENCE`; lists with commas, `*` = any; SIZE `n`, `n-m`. BadSignature."""
    name, containers, masks, size, kinds, evidence = _fields(line, 6)
    bounds = _SIZE.match(size)
    if size == "*":
        low, high = 0, ANY_SIZE
    elif bounds is None or size in {"", "-"}:
        raise BadSignature(f"size {size!r} is neither a number nor a range nor *")
    else:
        low = int(bounds[1] or 0)
        high = int(bounds[3]) if bounds[3] else (ANY_SIZE if bounds[2] else low)
    if not evidence.strip():
        raise BadSignature("a container rule needs words for the administrator behind the last colon")
    wanted = () if masks == "*" else tuple(masks.lower().split(","))
    return ContainerRule(_name(name), _kinds(containers), wanted, low, high, _kinds(kinds), evidence.strip())


def parse_ignored(line: str) -> str:
    """Read a threat's name, or a mask of names (`*`, `?`), that is not to be reported. BadSignature."""
    if not line.isascii() or not line.isprintable() or set(line) <= {"*", "?", "."}:
        raise BadSignature(f"{line!r} is no name of a threat")
    return line


def read_lines(text: str, parse: Callable[[str], Parsed]) -> Iterator[Parsed]:
    """Yield the signatures of a file. BadSignature with the number of the line."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.isspace() or line.startswith("#"):
            continue
        try:
            yield parse(line.strip())
        except BadSignature as error:
            raise BadSignature(str(error), number) from None


def _fields(line: str, count: int) -> list[str]:
    fields = line.split(":", count - 1)
    if len(fields) != count:
        raise BadSignature(f"{len(fields)} fields instead of {count}")
    return fields


def _name(name: str) -> str:
    if len(name) > NAME_LIMIT or _NAME.match(name) is None:
        raise BadSignature(f"{name[:NAME_LIMIT]!r} is no name of a threat")
    return name


def _kinds(text: str) -> tuple[Kind, ...]:
    if text == "*":
        return ()
    try:
        return tuple(Kind(each) for each in text.split(","))
    except ValueError as error:
        raise BadSignature(f"no kind of content: {error}") from None


def _parse_anchor(text: str) -> tuple[int, int, bool]:
    if text == "*":
        return -1, 0, False
    found = _ANCHOR.match(text)
    if found is None:
        raise BadSignature(f"offset {text!r} is none of *, n, n,m, EOF-n, EOF-n,m")
    return int(found["at"]), int(found["span"] or 0), found["end"] is not None


def _translate(text: str) -> str:
    """Return a pattern in the rule language: `{ ... }` without the braces."""
    if len(text) > LONGEST_PATTERN:
        raise BadSignature(f"a pattern longer than {LONGEST_PATTERN} characters")
    out: list[str] = []
    position = run = longest = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise BadSignature(f"{text[position : position + 8]!r} is not part of a pattern")
        position = token.end()
        if token["byte"] is not None:
            out.append(token["byte"])
            run = 0 if "?" in token["byte"] else run + 1
            longest = max(longest, run)
            continue
        run = 0
        out.append(_choice(token["choice"]) if token["choice"] is not None else _jump(token))
    if longest < FEWEST_BYTES:
        raise BadSignature(f"a pattern needs {FEWEST_BYTES} known bytes in a row")
    if out[0][0] in "[?" or out[-1][0] in "[?":
        raise BadSignature("a pattern begins and ends with a known byte")
    if any(left[0] == right[0] == "[" for left, right in itertools.pairwise(out)):
        raise BadSignature("two gaps in a row")
    return " ".join(out)


def _choice(text: str) -> str:
    options = text.split("|")
    if not all(option and len(option) % 2 == 0 and "?" not in option for option in options):
        raise BadSignature(f"({text}) is no choice of bytes")
    pairs = (" ".join(option[i : i + 2] for i in range(0, len(option), 2)) for option in options)
    return f"({' | '.join(pairs)})"


def _jump(token: re.Match[str]) -> str:
    if token["star"] is not None:
        return "[-]"
    low, high = token["low"], token["high"]
    if not token["dash"]:
        if not low or high:
            raise BadSignature(f"{token[0]} is no gap")
        return f"[{low}]"
    if high and int(low or 0) > int(high):
        raise BadSignature(f"{token[0]} ends before it begins")
    return f"[{low or 0}-{high}]"
