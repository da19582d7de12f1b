"""Sets of databases: what is signed is used, what was touched is not; which of several; the compiled form."""

import datetime as dt
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gatepost.antispam.check import Notes
from gatepost.antispam.knowledge import Knowledge, load_packaged, merge_sets
from gatepost.antispam.samples.check import SamplesCheck
from gatepost.antispam.view import build_view
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import CLEAN, Outcome, ScanObject
from gatepost.antivirus.sources import BadSource
from gatepost.config.profiles_samples import ReadySample
from gatepost.feeds import bases as bases_module
from gatepost.feeds import cache as cache_module
from gatepost.feeds.artefacts import Artefacts
from gatepost.feeds.bases import BasesError, Trouble, check_kind, choose_sets, seed
from gatepost.feeds.building import build_set
from gatepost.feeds.cache import BasesNotLoaded, image_key, load_image
from gatepost.feeds.keys import (
    SHIPPED_KEY,
    BadKey,
    BadSignatureFile,
    Keys,
    build_public_text,
    generate_key,
    load_private,
    parse_public,
    resolve_keys,
    sign,
    verify,
)
from gatepost.feeds.manifest import BadSet, Kind, check_set, read_set
from gatepost.feeds.own import pin_own
from gatepost.feeds.pinned import PinnedSet, SpamBases
from gatepost.feeds.rule_samples import KEPT, lay_aside
from gatepost.feeds.spam import load_knowledge
from gatepost.filter.template import SETTINGS_LIMIT
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

DAY = dt.date(2026, 1, 31)
BAD = b"this object is known to be bad"
HASH = f"{hashlib.sha256(BAD).hexdigest()}:{len(BAD)}:Test.Known\n"


class Signer:
    """A key pair and the sets it signs, below one directory."""

    def __init__(self, place: Path) -> None:
        self.key = place / "key.pem"
        self.text = build_public_text(generate_key(self.key))
        self.trusted: Keys = resolve_keys([self.text])
        self.bases = place / "bases"

    def make(self, directory: str, number: int = 1, files: dict[str, str] | None = None, **how: object) -> Path:
        place = self.bases / directory
        for path, text in (files or {"known.hash": HASH}).items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        issued = how.get("issued", DAY)
        assert isinstance(issued, dt.date)
        build_set(place, str(how.get("name", "own")), number, issued, [load_private(self.key)])
        return place


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


def pinned(signer: Signer) -> tuple[PinnedSet, ...]:
    return choose_sets(signer.bases, signer.trusted, None).sets


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"#\n")


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def flip_digit(path: Path) -> None:
    text = path.read_text()
    path.write_text(f"{text[:-30]}{'B' if text[-30] == 'A' else 'A'}{text[-29:]}")


def lead_out(path: Path) -> None:
    outside = path.parents[2] / "outside"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


DAMAGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "file longer": ("known.hash", append, "longer than"),
    "file changed": ("known.hash", flip, "not what the manifest says"),
    "file cut": ("known.hash", lambda path: path.write_bytes(path.read_bytes()[:-5]), "not what the manifest says"),
    "file gone": ("known.hash", lambda path: path.unlink(), "No such file"),
    "file elsewhere": ("known.hash", lead_out, "leads out of the set"),
    "file a pipe": ("known.hash", lambda path: (path.unlink(), os.mkfifo(path))[1], "not a file"),
    "manifest changed": ("manifest.json", flip, "does not fit"),
    "manifest longer": ("manifest.json", append, "does not fit"),
    "manifest gone": ("manifest.json", lambda path: path.unlink(), "No such file"),
    "unsigned": ("manifest.sig", lambda path: path.unlink(), "No such file"),
    "signature empty": ("manifest.sig", lambda path: path.write_bytes(b""), "holds no signature"),
    "signature garbage": ("manifest.sig", lambda path: path.write_bytes(os.urandom(300)), "holds no signature"),
    "signature changed": ("manifest.sig", flip_digit, "does not fit"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_was_touched_is_not_used(signer: Signer, name: str) -> None:
    directory = signer.make("own-1")
    assert [each.facts.name for each in pinned(signer)] == ["own"]
    file, damage, words = DAMAGES[name]
    damage(directory / file)
    with pytest.raises(BasesError) as caught:
        pinned(signer)
    assert caught.value.trouble is Trouble.UNUSABLE
    assert str(directory) in str(caught.value)
    assert words in str(caught.value)
    assert "gatepost bases verify" in str(caught.value)


def test_files_that_nobody_signed_are_not_read(signer: Signer) -> None:
    directory = signer.make("own-1")
    (directory / "more.hash").write_text(f"{hashlib.sha256(b'more').hexdigest()}:*:Test.More\n")
    engine = BuiltinEngine(load_image(signer.bases.parent / "cache", pinned(signer)))
    assert engine.scan(ScanObject(b"more"), math.inf) is CLEAN
    assert engine.scan(ScanObject(BAD), math.inf).threat == "Test.Known"


@pytest.mark.parametrize("path", ["../outside.hash", "/etc/passwd", "a//b.hash", ".hidden.hash", "a/../b.hash"])
def test_even_a_signed_manifest_leads_nowhere_else(signer: Signer, path: str) -> None:
    directory = signer.make("own-1")
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][0]["path"] = path
    raw = json.dumps(manifest).encode()
    (directory / "manifest.json").write_bytes(raw)
    (directory / "manifest.sig").write_bytes(sign(raw, [load_private(signer.key)]))
    with pytest.raises(BadSet, match="no path of a file"):
        read_set(directory, signer.trusted)


def test_keys_nobody_trusts(signer: Signer, tmp_path: Path) -> None:
    directory = signer.make("own-1")
    with pytest.raises(BadSet, match="which is no trusted key"):
        read_set(directory, resolve_keys([]))
    other = generate_key(tmp_path / "other.pem")
    raw = (directory / "manifest.json").read_bytes()
    signed = sign(raw, [load_private(tmp_path / "other.pem"), load_private(signer.key)])
    assert verify(raw, signed, signer.trusted) in signer.trusted
    assert verify(raw, signed, resolve_keys([build_public_text(other)]))
    # The other key's signature under the name of a trusted one.
    forged = signed.splitlines()[0].split()[2]
    line = b"ed25519 " + next(iter(set(signer.trusted) - set(resolve_keys([])))).encode() + b" " + forged
    with pytest.raises(BadSignatureFile, match="does not fit"):
        verify(raw, line, signer.trusted)


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "A" * 44])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(BadKey):
        parse_public(text)


def test_private_keys_are_for_their_owner(tmp_path: Path) -> None:
    generate_key(tmp_path / "key.pem")
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        generate_key(tmp_path / "key.pem")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(BadKey):
        load_private(tmp_path / "text")


def test_of_several_the_highest_number_is_used(signer: Signer) -> None:
    signer.make("b", 2)
    signer.make("a", 10)
    signer.make("c", 9)
    signer.make("other", 1, name="other")
    (signer.bases / ".being-written").mkdir()
    assert [(each.facts.name, each.facts.number) for each in pinned(signer)] == [("other", 1), ("own", 10)]
    flip(signer.bases / "a" / "known.hash")
    choice = choose_sets(signer.bases, signer.trusted, None)
    assert [(each.facts.name, each.facts.number) for each in choice.sets] == [("other", 1), ("own", 9)]
    assert len(choice.troubles) == 1
    assert "known.hash" in choice.troubles[0]


def test_sets_issued_after_the_end_of_the_licence_are_not_used(signer: Signer) -> None:
    signer.make("late", 2, issued=DAY + dt.timedelta(1))
    with pytest.raises(BasesError) as caught:
        choose_sets(signer.bases, signer.trusted, DAY)
    assert caught.value.trouble is Trouble.OUT_OF_TERM
    signer.make("last-day", 1)
    choice = choose_sets(signer.bases, signer.trusted, DAY)
    assert [each.facts.number for each in choice.sets] == [1]
    assert "after the licence's end" in choice.troubles[0]


def test_empty_and_missing_directories(signer: Signer) -> None:
    signer.bases.mkdir()
    with pytest.raises(BasesError, match="holds no databases"):
        pinned(signer)
    signer.bases.rmdir()
    with pytest.raises(BasesError):
        pinned(signer)


def test_a_new_directory_gets_the_shipped_set_signed_with_the_shipped_key(tmp_path: Path) -> None:
    bases = tmp_path / "state" / "bases"
    bases.parent.mkdir()
    assert "made with the databases" in seed(bases)
    choice = choose_sets(bases, resolve_keys([]), None)
    assert [each.facts.name for each in choice.sets] == ["base"]
    assert choice.sets[0].facts.records > 40
    assert seed(bases) == ""
    assert parse_public(SHIPPED_KEY)


def test_an_older_shipped_set_is_followed_by_the_new_one_and_an_empty_directory_stays_so(signer: Signer) -> None:
    signer.make("base-0", 0, name="base")
    assert "added" in seed(signer.bases)
    assert [each.facts.name for each in choose_sets(signer.bases, resolve_keys([]), None).sets] == ["base"]
    assert len(list(signer.bases.iterdir())) == 2
    signer.make("base-99999", 99_999, name="base")
    assert seed(signer.bases) == ""
    empty = signer.bases.parent / "empty"
    empty.mkdir()
    assert seed(empty) == ""
    assert not list(empty.iterdir())


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("known.hash", "00:1:Name\n", "known.hash:1: a digest of 1 bytes"),
        ("a.pattern", "# fine\nName:any:*:41??\n", "a.pattern:2: "),
        ("yara/any/a.yar", "rule a { condition: nothing }", "yara/any/a.yar: "),
        ("yara/any/a.yar", 'include "/etc/passwd"', "yara/any/a.yar: "),
        ("yara/nowhere/a.yar", "rule a { condition: true }", "SCOPE one of any"),
        ("a.exe", "MZ", "no kind of file a database has"),
    ],
)
def test_what_does_not_compile_is_not_signed(signer: Signer, path: str, text: str, words: str) -> None:
    with pytest.raises(BadSource) as caught:
        signer.make("own-1", files={path: text})
    assert words in str(caught.value)
    assert not (signer.bases / "own-1" / "manifest.json").exists()


# --- the compiled form


def no_compiling(*_: object) -> None:
    raise AssertionError("compiled again")


def test_the_compiled_form_is_used_the_second_time(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = signer.make("own-1")
    cache = signer.bases.parent / "cache"
    sets = pinned(signer)
    first = load_image(cache, sets)
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(cache_module, "compile_knowledge", no_compiling)
    flip(directory / "known.hash")  # what is in use was verified: a restart of the template does not look again
    again = load_image(cache, sets)
    assert again.digest == first.digest == image_key(sets)
    assert BuiltinEngine(again).scan(ScanObject(BAD), math.inf).outcome is Outcome.INFECTED
    assert BuiltinEngine(again).version().startswith("20260131 #1 ")


@pytest.mark.parametrize("damage", ["image", "index", "digest", "foreign", "link", "garbage"])
def test_a_compiled_form_that_is_not_ours_is_made_anew(
    signer: Signer, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    signer.make("own-1")
    cache = signer.bases.parent / "cache"
    sets = pinned(signer)
    load_image(cache, sets)
    image, index = next(cache.glob("*.image")), cache / "index.json"
    match damage:
        case "image":
            flip(image)
        case "index":
            index.write_bytes(b"{")
        case "digest":
            index.write_text(json.dumps({image.stem: "0" * 64}))
        case "foreign":
            image.chmod(0o666)
        case "link":
            image.rename(cache / "elsewhere")
            image.symlink_to(cache / "elsewhere")
        case "garbage":
            image.write_bytes(b"garbage")
            index.write_text(json.dumps({image.stem: hashlib.sha256(b"garbage").hexdigest()}))
    compiled = []
    real = cache_module.compile_knowledge
    monkeypatch.setattr(cache_module, "compile_knowledge", lambda *a: compiled.append(1) or real(*a))
    assert BuiltinEngine(load_image(cache, sets)).scan(ScanObject(BAD), math.inf).threat == "Test.Known"
    assert compiled
    monkeypatch.setattr(cache_module, "compile_knowledge", no_compiling)
    load_image(cache, sets)


def test_a_set_changed_after_it_was_verified_is_not_loaded(signer: Signer) -> None:
    directory = signer.make("own-1")
    sets = pinned(signer)
    signer.make("own-1", 2)
    with pytest.raises(BasesNotLoaded, match="changed since"):
        load_image(signer.bases.parent / "cache", sets)
    sets = pinned(signer)
    flip(directory / "known.hash")
    with pytest.raises(BasesNotLoaded, match=r"known\.hash"):
        load_image(signer.bases.parent / "cache", sets)


def test_few_compiled_forms_are_kept_and_a_disk_that_takes_none_does_not_matter(signer: Signer) -> None:
    cache = signer.bases.parent / "cache"
    for number in range(1, 6):
        signer.make("own-1", number)
        load_image(cache, pinned(signer))
    assert len(list(cache.glob("*.image"))) == cache_module.IMAGES_KEPT
    assert load_image(Path("/proc/no-such-place"), pinned(signer)).hashes


def test_another_set_is_another_version_of_the_engine(signer: Signer) -> None:
    cache = signer.bases.parent / "cache"
    versions = set()
    for number in (1, 2):
        signer.make("own-1", number)
        versions.add(BuiltinEngine(load_image(cache, pinned(signer))).version())
    assert len(versions) == 2


@pytest.mark.parametrize("kind", Kind)
def test_the_shipped_set_is_what_was_signed(kind: Kind) -> None:
    """Whoever changes a rule signs the set anew: tools/sign_rules.py."""
    packaged = Path(bases_module.__file__).parents[1] / kind / "rules"
    database = read_set(packaged, resolve_keys([]))
    check_set(database)
    check_kind(database, kind)
    present = {path.relative_to(packaged).as_posix() for path in packaged.rglob("*") if path.is_file()}
    assert present - {"manifest.json", "manifest.sig"} == {entry.path for entry in database.manifest.files}


# --- sets for anti-spam


def test_a_set_among_those_of_the_other_kind_is_not_used(signer: Signer) -> None:
    signer.make("own-1")
    with pytest.raises(BasesError, match="a set for antivirus, where those for antispam lie"):
        choose_sets(signer.bases, signer.trusted, None, Kind.ANTISPAM)


def test_the_template_gets_the_files_of_all_sets_and_those_of_the_administrator(tmp_path: Path) -> None:
    assert "spam-base" in seed(tmp_path / "as", Kind.ANTISPAM)
    own = tmp_path / "own"
    own.mkdir()
    (own / "texts.samples").write_bytes(b"mine")
    (own / ".texts.samples.new").write_bytes(b"half")
    sets = choose_sets(tmp_path / "as", resolve_keys([]), None, Kind.ANTISPAM).sets
    bases = SpamBases(sets, pin_own(own))
    knowledge = load_knowledge(bases, tmp_path / "cache")
    assert knowledge.files["own:texts.samples"] == b"mine"
    assert set(knowledge.files) - {"own:texts.samples"} == set(load_packaged().files)
    (own / "texts.samples").write_bytes(b"other")
    with pytest.raises(BasesNotLoaded, match="has been changed since"):
        load_knowledge(bases, tmp_path / "cache")


def test_mail_is_compared_with_the_samples_of_the_rule_set(tmp_path: Path) -> None:
    words = "dear friend our garden gnomes are made by hand of red clay and cost less than you think when ordered now"
    samples = (
        ReadySample("gnomes", "goods/garden", words),
        ReadySample("digits", "spam", " ".join(f"{number} {number} hello" for number in range(40))),
    )
    knowledge = load_knowledge(SpamBases((), (), samples), tmp_path / "cache")
    assert list(knowledge.files) == ["rules:samples/gnomes.sample"]
    notes = Notes()
    mail = parse(b"Subject: x\r\n\r\nHello,\r\n" + words.encode())
    SamplesCheck(knowledge).inspect(build_view(mail, SpamOptions()), notes)
    assert list(notes.categories) == ["goods/garden"]
    assert "“gnomes” (goods/garden)" in notes.signs[0].evidence


def test_samples_of_the_rule_set_are_told_of_in_a_short_line(tmp_path: Path) -> None:
    """However many there are: a template that is told too much at once does not start, and no mail passes."""
    texts = [" ".join(f"{word}{letter * number}" for word in ("red", "clay", "gnome") for letter in "abcdefgh")
             for number in range(1, 100)]  # fmt: skip
    bases = SpamBases((), (), tuple(ReadySample(f"s{at}", "goods/garden", text) for at, text in enumerate(texts)))
    assert len(msgspec.json.encode(bases)) > SETTINGS_LIMIT
    told = msgspec.json.decode(msgspec.json.encode(lay_aside(bases, tmp_path / "cache")), type=SpamBases)
    assert len(msgspec.json.encode(told)) < 1000
    assert load_knowledge(told, tmp_path / "spam").files == load_knowledge(bases, tmp_path / "spam").files
    assert told.sample_file is not None
    Path(told.sample_file.path).write_bytes(b"other")
    with pytest.raises(BasesNotLoaded, match="has been changed since"):
        load_knowledge(told, tmp_path / "spam")
    assert lay_aside(bases, tmp_path / "cache") == told
    load_knowledge(told, tmp_path / "spam")


def test_files_with_samples_of_the_rule_set_do_not_gather(tmp_path: Path) -> None:
    assert lay_aside(SpamBases(), tmp_path) == SpamBases()
    for number in range(2 * KEPT):
        last = lay_aside(SpamBases((), (), (ReadySample("s", "spam", str(number)),)), tmp_path)
    assert len(list(tmp_path.iterdir())) == KEPT
    assert last is not None
    assert last.sample_file is not None
    assert Path(last.sample_file.path).exists()


def test_compiled_forms_are_made_once_for_the_same_sources(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"compiled"

    for _ in range(2):
        knowledge = merge_sets([], Artefacts(tmp_path / "cache", 3))
        assert knowledge.compiled("form 1", [b"a", b"b"], make) == b"compiled"
    assert len(made) == 1
    knowledge.compiled("form 2", [b"a", b"b"], make)
    knowledge.compiled("form 1", [b"ab"], make)
    assert len(made) == 3
    assert Knowledge().compiled("form 1", [b"a", b"b"], make) == b"compiled"
    assert len(made) == 4
