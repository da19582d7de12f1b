"""From the sources of databases to what the engine works with: `compile_knowledge`, and its serialised form.

Called by the template process, and by whoever builds a database to see whether it compiles. Compiling ten thousand
patterns takes a second, loading their serialised form some milliseconds. The serialised form is native code of ours:
`feeds.cache` sees to it that only what was written by us is ever loaded.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import PurePosixPath

import msgspec
import yara_x

from gatepost import __version__
from gatepost.antivirus.hashes import HashTable, build_tables
from gatepost.antivirus.scope import Scope
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
from gatepost.antivirus.sources import BadSource, SetFacts, Source

IMAGE_FORMAT = 1
"""Rises when the serialised form changes."""
GROUP_SIZE = 100
"""Patterns in one rule. Each rule costs at every scan, each pattern does not: ten thousand rules 340 us, a hundred
rules of a hundred patterns 5 us for 2 KB."""
NAME_VARIABLE = "object_name"
TYPE_VARIABLE = "object_type"
INSIDE_VARIABLE = "object_inside"
"""What rules call name and declared type of the object under scan, and the kind of what it was found in."""
PATTERN_NAMESPACE = "patterns"
SUFFIXES = (".yar", ".hash", ".pattern", ".container", ".good", ".ignore")
RULE_FOLDER = "yara"
LIBRARY = f"{__version__} yara-x {version('yara-x')}"
"""Compiled rules belong to one version of the product and of the library."""


class Image(msgspec.Struct, frozen=True):
    """Compiled databases as they are kept on disk."""

    format: int
    digest: str
    """Of everything that can change an answer."""
    sets: tuple[SetFacts, ...]
    rules: dict[str, bytes]
    """Compiled rules by scope."""
    patterns: dict[str, tuple[Pattern, ...]]
    """Patterns by scope, in the order of their numbers in the rules."""
    hashes: tuple[HashTable, ...]
    good: tuple[HashTable, ...]
    containers: tuple[ContainerRule, ...]
    ignored: tuple[str, ...]


class _Collected:
    """What the files of all sets hold, put together."""

    def __init__(self) -> None:
        self.rules: dict[Scope, list[Source]] = {}
        self.patterns: dict[Scope, list[Pattern]] = {}
        self.hashes: list[HashSignature] = []
        self.good: list[HashSignature] = []
        self.containers: list[ContainerRule] = []
        self.ignored: list[str] = []

    def take(self, source: Source) -> None:
        """Add a file. BadSignature, BadSource."""
        path = PurePosixPath(source.path)
        match path.suffix:
            case ".yar":
                self._take_rules(source, path)
            case ".hash":
                self.hashes.extend(read_lines(_decode(source), parse_hash))
            case ".good":
                self.good.extend(read_lines(_decode(source), parse_good))
            case ".pattern":
                for pattern in read_lines(_decode(source), parse_pattern):
                    self.patterns.setdefault(pattern.scope, []).append(pattern)
            case ".container":
                self.containers.extend(read_lines(_decode(source), parse_container))
            case ".ignore":
                self.ignored.extend(read_lines(_decode(source), parse_ignored))
            case _:
                raise BadSource(f"{source.path}: no kind of file a database has: {', '.join(SUFFIXES)}")

    def count(self) -> int:
        """Return the number of lines taken: rules are not among them."""
        patterns = sum(map(len, self.patterns.values()))
        return len(self.hashes) + len(self.good) + len(self.containers) + len(self.ignored) + patterns

    def _take_rules(self, source: Source, path: PurePosixPath) -> None:
        try:
            scope = Scope(path.parts[1] if len(path.parts) > 2 and path.parts[0] == RULE_FOLDER else "")
        except ValueError:
            scopes = ", ".join(Scope)
            raise BadSource(f"{source.path}: rules lie in {RULE_FOLDER}/SCOPE/, SCOPE one of {scopes}") from None
        self.rules.setdefault(scope, []).append(source)


def compile_knowledge(sources: Sequence[Source], sets: tuple[SetFacts, ...] = ()) -> Image:
    """Compile databases. BadSource."""
    collected = _Collected()
    for source in sources:
        _take(collected, source)
    scopes = sorted({*collected.rules, *collected.patterns})
    rules = {}
    for scope in scopes:
        stream = io.BytesIO()
        _compile(collected.rules.get(scope, ()), collected.patterns.get(scope, ())).serialize_into(stream)
        rules[scope.value] = stream.getvalue()
    return Image(
        IMAGE_FORMAT,
        digest_sources(sources),
        sets,
        rules,
        {scope.value: tuple(patterns) for scope, patterns in collected.patterns.items()},
        build_tables(collected.hashes),
        build_tables(collected.good),
        tuple(collected.containers),
        tuple(collected.ignored),
    )


def count_records(source: Source) -> int:
    """Return the number of signatures in a file, having compiled it. BadSource."""
    collected = _Collected()
    _take(collected, source)
    count = collected.count()
    for rules in collected.rules.values():
        count += sum(1 for _ in _compile(rules, ()))
    for patterns in collected.patterns.values():
        _compile((), patterns)
    return count


def digest_sources(sources: Iterable[Source]) -> str:
    """Return a digest of the databases and of the code that reads them."""
    digest = hashlib.sha256(f"{IMAGE_FORMAT} {LIBRARY}\n".encode())
    for source in sources:
        digest.update(f"{source.origin}/{source.path} {hashlib.sha256(source.data).hexdigest()}\n".encode())
    return digest.hexdigest()


def _take(collected: _Collected, source: Source) -> None:
    try:
        collected.take(source)
    except BadSignature as error:
        raise BadSource(f"{source.path}:{error.line}: {error}") from None


def _compile(rules: Iterable[Source], patterns: Sequence[Pattern]) -> yara_x.Rules:
    """Compile. BadSource. A compiler may be dropped by its own thread alone: no traceback may keep it."""
    compiler = yara_x.Compiler()
    try:
        compiler.enable_includes(False)
        compiler.define_global(NAME_VARIABLE, "")
        compiler.define_global(TYPE_VARIABLE, "")
        compiler.define_global(INSIDE_VARIABLE, "")
        for source in rules:
            compiler.new_namespace(f"{source.origin}/{source.path}")
            _add(compiler, _decode(source), source.path)
        compiler.new_namespace(PATTERN_NAMESPACE)
        for first in range(0, len(patterns), GROUP_SIZE):
            group = range(first, min(first + GROUP_SIZE, len(patterns)))
            strings = "\n".join(f"$p{number} = {{ {patterns[number].hexadecimal} }}" for number in group)
            _add(compiler, f"rule group_{first} {{ strings:\n{strings}\ncondition: any of them }}", PATTERN_NAMESPACE)
        return compiler.build()
    finally:
        del compiler


def _add(compiler: yara_x.Compiler, text: str, path: str) -> None:
    try:
        compiler.add_source(text, origin=path)
    except yara_x.CompileError as error:
        raise BadSource(f"{path}: {error}") from None
    finally:
        del compiler


def _decode(source: Source) -> str:
    try:
        return source.data.decode()
    except UnicodeDecodeError as error:
        raise BadSource(f"{source.path}: not UTF-8 at byte {error.start}") from None
