"""The look of the console, dark or light: kept by the browser, in a cookie.

Listed in `console.pages`.
"""

from typing import Annotated, Any, Final

from litestar import post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect

from gatepost.console import render
from gatepost.console.visitor import OPEN

_KEPT_S: Final = 365 * 86400
_BODY_LIMIT: Final = 8 * 1024


@post("/theme", opt=OPEN, sync_to_thread=False, request_max_body_size=_BODY_LIMIT)
def choose_theme(
    data: Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    """Keep the look that was chosen, and go back to the page it was chosen on."""
    theme = str(data.get("theme", ""))
    response = render.go(str(data.get("back", "/")))
    if theme in render.THEMES:
        response.set_cookie(
            Cookie(render.THEME_COOKIE, value=theme, max_age=_KEPT_S, httponly=True, samesite="lax", path="/")
        )
    return response


ROUTES: Final = (choose_theme,)
