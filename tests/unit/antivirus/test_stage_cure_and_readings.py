"""A part is cured in one reading and bad in another: then it is not cured, nor is anything in it, and the answer fits."""

import math

from stage_engines import Spy

from gatepost.antivirus.objects import ObjectList
from gatepost.antivirus.stage import inspect
from gatepost.filter.dialogue import check_analysis
from gatepost.model.finding import ObjectKind, ObjectStatus, ScanOptions


def test_what_is_bad_in_another_reading_is_not_cured() -> None:
    content = b"Co\x0btent-Type: text/html\r\n\r\n<p>x<script>BAD</script></p>"
    analysis = inspect(content, ScanOptions(cure=True), [Spy()], math.inf)
    check_analysis(analysis, len(content))
    assert len(analysis.objects) > 4
    assert {report.status for report in analysis.objects[1:]} == {ObjectStatus.INFECTED}


def test_only_what_the_cure_was_about_is_undone() -> None:
    objects = ObjectList()
    part = objects.add(ObjectKind.PART, -1, "a")
    inner = objects.add(ObjectKind.MEMBER, part, "b")
    innermost = objects.add(ObjectKind.MEMBER, inner, "c")
    objects.mark(innermost, ObjectStatus.SUSPICIOUS)
    objects.mark_cured(part, b"cured", "")
    other = objects.add(ObjectKind.PART, -1, "d")
    other_inner = objects.add(ObjectKind.MEMBER, other, "e")
    objects.mark(other_inner, ObjectStatus.INFECTED)
    objects.mark_cured(other, b"cured", "")
    objects.mark(objects.add(ObjectKind.MEMBER, part, "reading"), ObjectStatus.INFECTED)
    states = [report.status.value for report in objects.reports()]
    assert states == ["infected", "suspicious", "suspicious", "disinfected", "disinfected", "infected"]
