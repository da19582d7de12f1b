"""Samples that sets of databases carry: how they stand in a set, who reads them, and what a trial says of them."""

import base64
import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.feeds import hash_lines
from tests.support.mails import EICAR

from gatepost.antivirus.sources import Source
from gatepost.cli.feed import EXIT_NOT_SOUND, build
from gatepost.cli.sample_trial import Unfit
from gatepost.cli.update_trial import try_sets
from gatepost.config.load import load_text
from gatepost.feeds.building import build_set
from gatepost.feeds.clamav import convert_folder
from gatepost.feeds.keys import generate_key
from gatepost.feeds.manifest import BadSet, Kind, check_set, read_sources
from gatepost.feeds.trial_samples import BYTES_LIMIT, SAMPLES_LIMIT, TrialSample, read_samples, unwrap_samples
from gatepost.feeds.updating import Wanted

BAD = b"a program that only this set knows" * 9


def sources(place: Path, **samples: bytes) -> Path:
    """Write the sources of a set that knows `BAD`; `samples`: `found_NAME` or `clean_NAME` and what is in it."""
    place.mkdir()
    (place / "known.hash").write_bytes(hash_lines(BAD))
    for name, data in samples.items():
        file = place / "trial" / name.replace("_", "/", 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return place


def converted(place: Path, **samples: bytes) -> Path:
    """Return a directory as `feed build` signs it."""
    convert_folder(sources(place / "sources", **samples), place / "set")
    return place / "set"


def test_a_set_carries_its_samples_in_a_form_nobody_can_start(tmp_path: Path) -> None:
    directory = converted(tmp_path, found_bad=BAD, clean_letter=b"Dear all", found_test=EICAR)
    made = build_set(directory, "own", 1, dt.date(2026, 1, 31), [Ed25519PrivateKey.generate()])
    assert made.manifest.records == 1, "samples are no signatures"
    check_set(made)
    assert [source.path for source in read_sources(made)] == ["known.hash"], "what filters load"
    assert not [path for path in directory.rglob("*") if path.is_file() and EICAR in path.read_bytes()]
    told = [(each.name, each.found, each.data) for each in read_samples(made)]
    assert told == [("clean/letter", False, b"Dear all"), ("found/bad", True, BAD), ("found/test", True, EICAR)]


def test_a_sample_that_was_changed_is_noticed_as_any_file_is(tmp_path: Path) -> None:
    directory = converted(tmp_path, found_bad=BAD)
    made = build_set(directory, "own", 1, dt.date(2026, 1, 31), [Ed25519PrivateKey.generate()])
    (directory / "trial/found/bad.b64").write_bytes(base64.b64encode(b"x"))
    with pytest.raises(BadSet, match="has been changed"):
        check_set(made)
    with pytest.raises(BadSet, match="has been changed"):
        read_samples(made)


@pytest.mark.parametrize(
    "files",
    [
        {"trial/found/raw.exe": b"MZ"},
        {"trial/other/x.b64": b"AAAA"},
        {"trial/found/x.b64": b"no base64!"},
        {f"trial/clean/{number}.b64": b"AAAA" for number in range(SAMPLES_LIMIT + 1)},
        {"trial/clean/great.b64": base64.b64encode(bytes(BYTES_LIMIT + 1))},
    ],
    ids=["not wrapped", "neither found nor clean", "no base64", "too many", "too great"],
)
def test_samples_that_cannot_be_used_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(BadSet, match=r"trial|base64"):
        unwrap_samples(Source(path, data) for path, data in files.items())


def test_the_limits_themselves_are_allowed() -> None:
    share = base64.b64encode(bytes(BYTES_LIMIT // SAMPLES_LIMIT))
    assert len(unwrap_samples(Source(f"trial/clean/{each}.b64", share) for each in range(SAMPLES_LIMIT))) == 200


def test_a_sample_is_a_mail_itself_or_stands_in_one() -> None:
    mail = b"From: a@b.example\r\n\r\nx\r\n"
    assert TrialSample("found/one.eml", found=True, data=mail).as_mail(Kind.ANTIVIRUS) == mail
    assert b'filename="bad.exe"' in TrialSample("found/bad.exe", found=True, data=BAD).as_mail(Kind.ANTIVIRUS)
    assert TrialSample("found/offer", found=True, data=b"Buy it").as_mail(Kind.ANTISPAM).endswith(b"\r\n\r\nBuy it")


def test_a_set_is_signed_only_when_it_finds_its_samples_and_nothing_in_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_key(tmp_path / "key.pem")

    def made(number: int, **samples: bytes) -> tuple[int, str, bool]:
        place = sources(tmp_path / f"sources-{number}", **samples)
        code = build(place, tmp_path / f"{number}", key=[tmp_path / "key.pem"], name="own", number=number)
        captured = capsys.readouterr()
        return code, captured.out + captured.err, (tmp_path / f"{number}" / "manifest.sig").exists()

    code, text, signed = made(1, found_bad=BAD, clean_letter=b"Dear all")
    assert (code, signed) == (0, True), text
    assert "2 trial sample(s)" in text
    # What the shipped set knows is not found by this one.
    code, text, signed = made(2, found_bad=BAD, found_test=EICAR, clean_worse=BAD)
    assert (code, signed) == (EXIT_NOT_SOUND, False), text
    assert "does not find its own sample found/test" in text
    assert "in its clean sample clean/worse" in text


def test_an_update_refuses_a_set_that_does_not_find_its_sample(tmp_path: Path) -> None:
    directory = converted(tmp_path, found_other=b"what the set does not know")
    build_set(directory, "own", 1, dt.date(2026, 1, 31), [Ed25519PrivateKey.generate()])
    config = load_text('[network]\nhostname = "gw.example"\n', "x.toml").config
    assert config is not None
    with pytest.raises(Unfit, match="does not find its own sample found/other"):
        try_sets(config, {Wanted(Kind.ANTIVIRUS, "own", 1): directory})
