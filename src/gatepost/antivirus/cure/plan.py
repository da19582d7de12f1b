"""Which cure an object gets: `plan_cure`.

Called by the anti-virus stage for an object in which, or in whose members, something was found, innermost first. A
document is disarmed, an archive loses what is bad. Promises: never raises for what the object holds, a cured form has
lost something, and where only part could be cured there is none. Whether nothing bad is left is for the caller to find
out: it opens and scans the cured form as it did the object.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.cure.archive import repack
from gatepost.antivirus.cure.cured import BadMember, Cured
from gatepost.antivirus.cure.html import cure_html
from gatepost.antivirus.cure.odf import TYPE_MARK, cure_odf
from gatepost.antivirus.cure.office import cure_office
from gatepost.antivirus.cure.ooxml import cure_ooxml
from gatepost.antivirus.cure.pdf import cure_pdf
from gatepost.antivirus.cure.svg import cure_svg
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind

Cure = Callable[[ScanObject, Sequence[BadMember], Budget], Cured | None]

_ARCHIVES: Final = frozenset({Kind.ZIP, Kind.TAR, Kind.GZIP, Kind.BZIP2, Kind.XZ})
_TYPE_SEARCH: Final = 512
"""OpenDocument files say what they are in their first member, which is not packed."""


def plan_cure(
    subject: ScanObject, bad: Sequence[BadMember], budget: Budget, *, itself: bool = False, note: str = ""
) -> Cured | None:
    """Return the cured form of `subject`, None when there is none.

    `bad`: its members, one level down, that were found bad, the macros, links and scripts of a document included, each
    with its own cured form if it has one. `budget`: for this cure alone; it is unpacked once more. `itself`: something
    was found in its own bytes, which taking members out of an archive does not mend. `note`: text of a file that is
    added to an archive that loses members, "" = none.
    """
    try:
        if subject.kind in _ARCHIVES:
            cured = None if itself else repack(subject.data, subject.kind, bad, budget, note)
        else:
            cure = _DOCUMENTS.get(subject.kind) if subject.kind is not None else None
            cured = None if cure is None else cure(subject, bad, budget)
    except (OverBudget, MemoryError, RecursionError):
        return None
    except Exception:  # noqa: BLE001 - a cure that fails is no cure: the object keeps its status
        return None
    return cured


def _cure_zip(subject: ScanObject, bad: Sequence[BadMember], budget: Budget) -> Cured | None:
    """Cure a document that is a zip archive, whichever it is."""
    if TYPE_MARK in subject.data[:_TYPE_SEARCH]:
        return cure_odf(subject.data, bad, budget)
    return cure_ooxml(subject.data, subject.name, bad, budget)


_DOCUMENTS: Final[Mapping[Kind, Cure]] = {
    Kind.OOXML: _cure_zip,
    Kind.ODF: _cure_zip,
    Kind.OLE: lambda subject, bad, _budget: cure_office(subject.data, bad),
    Kind.PDF: lambda subject, bad, _budget: cure_pdf(subject.data, bad),
    Kind.HTML: lambda subject, _bad, _budget: cure_html(subject.data),
    Kind.SVG: lambda subject, _bad, _budget: cure_svg(subject.data),
}
