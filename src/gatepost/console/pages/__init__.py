"""Pages by area: each module exports `ROUTES`; what is not listed here is not served."""

from collections.abc import Sequence
from typing import Any, Final

from gatepost.console.pages import sign_in

ROUTES: Final[Sequence[Any]] = (*sign_in.ROUTES,)
