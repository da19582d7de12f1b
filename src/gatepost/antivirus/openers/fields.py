"""What fields and references of Office documents say, whichever file format they stand in.

Called by the openers of RTF, the older and the newer Office form, and XML. Pure. A field is shown to the rules when it
can fetch or run something, or builds its instruction out of pieces; page numbers and tables of contents are not.
"""

import re
from typing import Final

OFFICE_FIELD: Final = "text/x-office-field"
RELATIONSHIP: Final = "text/x-office-relationship"
VBA: Final = "text/x-vba"
VBA_STOMPED: Final = "text/x-vba-stomped"
XLM: Final = "text/x-xlm-macro"

_TELLING = re.compile(
    r"\b(?:DDE|DDEAUTO|INCLUDE|INCLUDETEXT|INCLUDEPICTURE|IMPORT|LINK|EMBED|QUOTE|SET|MACROBUTTON|DATABASE|GOTOBUTTON|RD|AUTOTEXT"
    r"|CONTROL|HTMLCONTROL|HTMLACTIVEX|ADDIN|EXEC|SHELL)(?![a-z])",
    re.IGNORECASE,
)


def is_telling(instruction: str) -> bool:
    """Whether the instruction of a field is one to be shown."""
    return _TELLING.search(instruction) is not None
