import gzip
import io
import math
import zipfile

import av_samples
import pytest

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import Outcome, ScanObject
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import SEVERITY, Analysis, ObjectKind, ObjectReport, ObjectStatus, ScanOptions

ENGINE = BuiltinEngine()


def scan(content: bytes, **options: object) -> Analysis:
    return inspect(content, ScanOptions(**options), [ENGINE], math.inf)


def worst(analysis: Analysis) -> ObjectStatus:
    return min((report.status for report in analysis.objects), key=SEVERITY.index)


def found(analysis: Analysis) -> list[ObjectReport]:
    return [report for report in analysis.objects if report.status is not ObjectStatus.CLEAN]


def unpacked(data: bytes, wrapping: str) -> bytes:
    """Return what is innermost in the archive of a wrapping."""
    if wrapping == "gzip":
        return gzip.decompress(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = archive.read(archive.namelist()[0])
    return unpacked(member, "") if wrapping == "zip-in-zip" else member


@pytest.mark.feature("F-AV-01")
@pytest.mark.parametrize("wrapping", av_samples.WRAPPINGS)
@pytest.mark.parametrize("prefix", av_samples.OUTCOMES)
@pytest.mark.parametrize("cure", [True, False])
def test_every_variant_in_every_wrapping(prefix: str, wrapping: str, cure: bool) -> None:
    content = av_samples.WRAPPINGS[wrapping](av_samples.eicar(prefix))
    analysis = scan(content, cure=cure)
    status, threat = av_samples.OUTCOMES[prefix]
    if prefix == av_samples.CURABLE and cure and wrapping != "nested-base64":  # its parts have no range of their own
        status = ObjectStatus.DISINFECTED
    assert worst(analysis) is status
    reports = found(analysis)
    assert {report.threat for report in reports} == {threat}
    assert {report.delete for report in reports} == {prefix == "DELE-"}
    # Policy can act on it: the outermost object that is not clean has a range in the content, and its cured form.
    outermost = reports[0]
    if status is not ObjectStatus.DISINFECTED:
        assert outermost.cured is None
    elif wrapping in av_samples.RANGED:
        assert outermost.cured == b"CURED"
    else:
        again = scan(av_samples.attached(outermost.cured or b"", name="x.zip"))
        assert worst(again) is ObjectStatus.CLEAN
        assert b"CURED" in unpacked(outermost.cured or b"", wrapping)
    assert all(report.cured is None for report in reports[1:])
    assert outermost.kind in (ObjectKind.PART, ObjectKind.BLOCK)
    assert 0 <= outermost.whole.start < outermost.whole.end <= len(content)


@pytest.mark.parametrize("wrapping", av_samples.WRAPPINGS)
def test_the_same_wrapping_without_a_sample_is_clean(wrapping: str) -> None:
    assert worst(scan(av_samples.WRAPPINGS[wrapping](b"nothing to see, only text"))) is ObjectStatus.CLEAN


@pytest.mark.parametrize("before", [b"", b" ", b"\r\n\t ", b"\n" * 64])
@pytest.mark.parametrize("after", [b"", b"\r\n", b" " * 60, b"\r\n-- \r\nfooter of a list\r\n"])
def test_white_space_in_front_and_anything_behind(before: bytes, after: bytes) -> None:
    assert ENGINE.scan(ScanObject(before + av_samples.eicar() + after), math.inf).outcome is Outcome.INFECTED


@pytest.mark.parametrize("before", [b"x", b"> ", b"\n" * 65, b"XXXX-"])
def test_a_text_that_only_quotes_the_string_is_clean(before: bytes) -> None:
    assert ENGINE.scan(ScanObject(before + av_samples.eicar()), math.inf).outcome is Outcome.CLEAN


def test_only_the_curable_sample_has_a_cure() -> None:
    cures = {prefix: ENGINE.cure(ScanObject(av_samples.eicar(prefix))) for prefix in av_samples.OUTCOMES}
    assert cures.pop(av_samples.CURABLE) == b"CURED"
    assert set(cures.values()) == {None}


def test_a_sample_in_a_preamble_and_in_an_epilogue_is_found_with_its_range() -> None:
    for hidden in ("preamble", "epilogue"):
        texts = {"preamble": b"", "epilogue": b"", hidden: av_samples.eicar() + b"\r\n"}
        content = av_samples.message(
            texts["preamble"] + b"--b\r\n\r\ntext\r\n--b--\r\n" + texts["epilogue"],
            b"Content-Type: multipart/mixed; boundary=b",
        )
        (report,) = found(scan(content))
        assert report.status is ObjectStatus.INFECTED
        assert av_samples.eicar() in content[report.whole.start : report.whole.end]


def test_with_two_engines_the_worse_answer_counts() -> None:
    class Suspicious(BuiltinEngine):
        def scan(self, subject, deadline):  # type: ignore[no-untyped-def]
            report = super().scan(ScanObject(av_samples.eicar("SUSP-")), deadline)
            assert report.outcome is Outcome.SUSPICIOUS
            return report

    content = av_samples.message(av_samples.eicar())
    for engines in ([ENGINE, Suspicious()], [Suspicious(), ENGINE]):
        body = inspect(content, ScanOptions(), engines, math.inf).objects[1]
        assert (body.status, body.threat) == (ObjectStatus.INFECTED, "EICAR-Test-File")
