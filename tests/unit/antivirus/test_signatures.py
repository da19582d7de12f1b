"""Line formats of databases, and that the engine finds by them what they say and nothing else."""

import gc
import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.compiling import BadSource, compile_knowledge
from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.signatures import (
    ANY_SIZE,
    BadSignature,
    parse_container,
    parse_good,
    parse_hash,
    parse_ignored,
    parse_pattern,
    read_lines,
)
from gatepost.antivirus.sources import Source

DATA = b"some bytes nobody has seen before"


def engine(**files: str) -> BuiltinEngine:
    """An engine with these files; `_` in a name stands for the dot."""
    sources = [Source(name.replace("_", "."), text.encode()) for name, text in files.items()]
    return BuiltinEngine(compile_knowledge(sources))


def scan(found_by: BuiltinEngine, data: bytes, name: str = "", **facts: object) -> Report:
    return found_by.scan(ScanObject(data, name, **facts), math.inf)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize("sized", [True, False])
def test_hashes_of_every_kind(algorithm: str, sized: bool) -> None:
    digest = hashlib.new(algorithm, DATA).hexdigest()
    known = engine(a_hash=f"# comment\n\n{digest}:{len(DATA) if sized else '*'}:Test.Known\n")
    assert scan(known, DATA).threat == "Test.Known"
    assert scan(known, DATA).outcome is Outcome.INFECTED
    assert scan(known, DATA).evidence == f"known as a whole by its {algorithm.upper()}"
    assert scan(known, DATA + b"\n") is CLEAN
    wrong_size = engine(a_hash=f"{digest}:{len(DATA) + 1}:Test.Known\n")
    assert scan(wrong_size, DATA) is CLEAN


def test_each_of_many_hashes_is_found_and_no_other() -> None:
    objects = [b"%d" % (number * number) for number in range(3000)]
    lines = []
    for number, each in enumerate(objects[:2000]):
        algorithm = ("md5", "sha1", "sha256")[number % 3]
        size = "*" if number % 7 == 0 else str(len(each))
        lines.append(f"{hashlib.new(algorithm, each).hexdigest()}:{size}:Test.{number}")
    known = engine(a_hash="\n".join(reversed(lines)))
    for number, each in enumerate(objects):
        assert scan(known, each).threat == (f"Test.{number}" if number < 2000 else "")


PATTERNS: list[tuple[str, bytes, bool]] = [
    ("*:4142434445", b"xxABCDExx", True),
    ("*:4142434445", b"xxABCDxE", False),
    ("*:41424344??46", b"ABCD\x00F", True),
    ("*:41424344?546", b"ABCD\x35F", True),
    ("*:41424344?546", b"ABCD\x36F", False),
    ("*:41424344*4546", b"ABCD" + b"-" * 5000 + b"EF", True),
    ("*:41424344*4546", b"EF" + b"-" * 50 + b"ABCD", False),
    ("*:41424344{2}45", b"ABCD..E", True),
    ("*:41424344{2}45", b"ABCD...E", False),
    ("*:41424344{1-3}45", b"ABCD...E", True),
    ("*:41424344{1-3}45", b"ABCD....E", False),
    ("*:41424344{-3}45", b"ABCDE", True),
    ("*:41424344{2-}45", b"ABCD" + b"." * 900 + b"E", True),
    ("*:41424344(45|4647)48", b"ABCDFGH", True),
    ("*:41424344(45|4647)48", b"ABCDEGH", False),
    ("0:4142434445", b"ABCDE", True),
    ("0:4142434445", b"-ABCDE", False),
    ("3:4142434445", b"---ABCDE", True),
    ("2,3:4142434445", b"-----ABCDE", True),
    ("2,3:4142434445", b"------ABCDE", False),
    ("2,3:4142434445", b"ABCDE" * 3, True),
    ("EOF-5:4142434445", b"------ABCDE", True),
    ("EOF-5:4142434445", b"------ABCDE-", False),
    ("EOF-8,3:4142434445", b"------ABCDE-", True),
]


@pytest.mark.parametrize(("signature", "data", "found"), PATTERNS)
def test_patterns_find_what_they_say(signature: str, data: bytes, found: bool) -> None:
    report = scan(engine(a_pattern=f"Test.Bytes:*:{signature}\n"), data)
    assert report.threat == ("Test.Bytes" if found else "")


def test_each_of_many_patterns_has_its_own_name() -> None:
    known = engine(a_pattern="\n".join(f"Test.{n}:*:*:{n:08x}ffeeddcc" for n in range(250)))
    for number in (0, 99, 100, 249):
        assert scan(known, b"..." + bytes.fromhex(f"{number:08x}ffeeddcc")).threat == f"Test.{number}"


def test_patterns_of_a_scope_are_asked_of_such_objects_only() -> None:
    known = engine(a_pattern="Test.Program:executable:*:4142434445\n")
    assert scan(known, b"ABCDE", kind=Kind.EXECUTABLE).threat == "Test.Program"
    assert scan(known, b"ABCDE") is CLEAN


@pytest.mark.parametrize(
    ("parse", "line"),
    [
        (parse_hash, "00" * 32),
        (parse_hash, f"{'00' * 31}:1:Name"),
        (parse_hash, f"{'0g' * 32}:1:Name"),
        (parse_hash, f"{'00' * 32}:-1:Name"),
        (parse_hash, f"{'00' * 32}:1:Na me"),
        (parse_hash, f"{'00' * 32}:1:{'N' * 200}"),
        (parse_good, f"{'00' * 16}:1:Name"),
        (parse_pattern, "Name:nowhere:*:4142434445"),
        (parse_pattern, "Name:*:x:4142434445"),
        (parse_pattern, "Name:*:EP+3:4142434445"),
        (parse_pattern, "Name:*:*:414243"),
        (parse_pattern, "Name:*:*:4142434"),
        (parse_pattern, "Name:*:*:4142??4344"),
        (parse_pattern, "Name:*:*:*4142434445"),
        (parse_pattern, "Name:*:*:4142434445{3}"),
        (parse_pattern, "Name:*:*:41424344**45"),
        (parse_pattern, "Name:*:*:41424344{5-2}45"),
        (parse_pattern, "Name:*:*:41424344{}45"),
        (parse_pattern, "Name:*:*:41424344(45|4)46"),
        (parse_pattern, 'Name:*:*:41424344 } condition: true { "'),
        (parse_pattern, "Name:*:*:" + "41" * 10_000),
        (parse_container, "Name:zip:*:*:*:"),
        (parse_container, "Name:box:*:*:*:words"),
        (parse_container, "Name:zip:*:many:*:words"),
        (parse_container, "Name:zip:*:*:*"),
        (parse_ignored, "*"),
        (parse_ignored, "na\tme"),
    ],
)
def test_what_is_no_signature(parse: Callable[[str], object], line: str) -> None:
    with pytest.raises(BadSignature):
        parse(line)


def test_faults_are_told_with_their_line() -> None:
    with pytest.raises(BadSignature) as caught:
        list(read_lines(f"# hashes\n\n{'00' * 32}:*:Fine\nnonsense\n", parse_hash))
    assert caught.value.line == 4
    with pytest.raises(BadSource, match=r"x\.hash:1: "):
        compile_knowledge([Source("x.hash", b"nonsense")])


def test_a_compiler_is_dropped_by_the_thread_that_made_it() -> None:
    """The library complains of another thread, long after and where nobody listens: the run of tests would fail."""
    with ThreadPoolExecutor(1) as thread:
        error = thread.submit(
            compile_knowledge, [Source("yara/active/x.yar", b"rule broken { condition: nobody }")]
        ).exception()
    assert isinstance(error, BadSource)
    del error
    gc.collect()


def test_names_of_uncertain_things_make_suspicious() -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    assert scan(engine(a_hash=f"{digest}:*:Heuristic.Looks.Bad"), DATA).outcome is Outcome.SUSPICIOUS


def test_what_is_known_to_be_good_is_clean_whatever_else_says() -> None:
    files = {"a_pattern": "Test.Bytes:*:*:736f6d65206279746573\n", "a_good": ""}
    assert scan(engine(**files), DATA).threat == "Test.Bytes"
    files["a_good"] = f"{hashlib.sha256(DATA).hexdigest()}:{len(DATA)}:false-alarm-of-yesterday\n"
    assert scan(engine(**files), DATA) is CLEAN
    assert scan(engine(**files), DATA + b".").threat == "Test.Bytes"


def test_ignored_names_are_not_reported_and_hide_no_others() -> None:
    patterns = "Test.Some:*:*:736f6d65206279\nOther.Nobody:*:*:6e6f626f6479\n"
    assert scan(engine(a_pattern=patterns, a_ignore="Test.*\n"), DATA).threat == "Other.Nobody"
    assert scan(engine(a_pattern=patterns, a_ignore="Test.*\nOther.Nobody\n"), DATA) is CLEAN


CARRIER = "Heuristic.Carrier:iso,zip:*.js,*.exe:10-20:executable,script:words for the administrator\n"


@pytest.mark.parametrize(
    ("name", "size", "kind", "inside", "found"),
    [
        ("A.JS", 10, Kind.SCRIPT, Kind.ISO, True),
        ("a.exe", 20, Kind.EXECUTABLE, Kind.ZIP, True),
        ("a.txt", 10, Kind.SCRIPT, Kind.ISO, False),
        ("a.js", 9, Kind.SCRIPT, Kind.ISO, False),
        ("a.js", 21, Kind.SCRIPT, Kind.ISO, False),
        ("a.js", 10, Kind.PDF, Kind.ISO, False),
        ("a.js", 10, None, Kind.ISO, False),
        ("a.js", 10, Kind.SCRIPT, Kind.TAR, False),
        ("a.js", 10, Kind.SCRIPT, None, False),
    ],
)
def test_container_rules(name: str, size: int, kind: Kind | None, inside: Kind | None, found: bool) -> None:
    report = scan(engine(a_container=CARRIER), b"x" * size, name, kind=kind, inside=inside)
    assert report == (
        Report(Outcome.SUSPICIOUS, "Heuristic.Carrier", "words for the administrator") if found else CLEAN
    )


def test_container_rules_with_stars_and_open_sizes() -> None:
    rule = parse_container("Name:*:*:1000-:*:words")
    assert (rule.containers, rule.masks, rule.kinds, rule.low, rule.high) == ((), (), (), 1000, ANY_SIZE)
    known = engine(a_container="Name:*:*:3:*:words\n")
    assert scan(known, b"abc", inside=Kind.TAR).threat == "Name"
    assert scan(known, b"abcd", inside=Kind.TAR) is CLEAN


def test_rules_of_others_are_used_with_their_own_names() -> None:
    rules = 'rule Foreign_Malware { meta: description = "made elsewhere" strings: $a = "nobody has" condition: $a }'
    image = compile_knowledge([Source("yara/any/foreign.yar", rules.encode())])
    report = scan(BuiltinEngine(image), DATA)
    assert report.outcome is Outcome.INFECTED
    assert report.threat == "Foreign_Malware"
    assert report.evidence == "rule Foreign_Malware: made elsewhere"


def test_the_worst_of_several_counts_and_an_unscanned_object_is_not_clean() -> None:
    known = engine(
        a_pattern="Heuristic.Some:*:*:736f6d65206279\n", a_hash=f"{hashlib.md5(DATA).hexdigest()}:*:Test.Known\n"
    )
    assert scan(known, DATA).threat == "Test.Known"
    assert scan(known, DATA + b".").threat == "Heuristic.Some"
