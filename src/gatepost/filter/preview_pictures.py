"""Pictures of a message for its preview: decoded, made small and written anew, so that nothing of the stranger's
file is left but what it looks like.

Called by `filter.preview`. A picture that is damaged, of a format mail readers do not show, or too large gives none.
"""

import base64
import io
from typing import Final

from PIL import Image

from gatepost.antispam.extract.grey import FORMATS
from gatepost.antispam.extract.opening import may_decode

PIXELS_LIMIT: Final = 16_000_000
"""Pixels of a picture that is decoded: 64 MB with its transparency, of the 512 MB a filter has."""
SIDE: Final = 1_000
"""Pixels of the longer side of what is shown: a mail is seldom wider than 800."""
QUALITY: Final = 80
_CLEAR: Final = frozenset({"P", "RGBA", "LA", "PA"})


def redraw(data: bytes) -> str | None:
    """Return a picture as a `data:` address (PNG, or JPEG without transparency), None when it cannot be shown."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if not may_decode(picture, data, PIXELS_LIMIT):
                return None
            picture.draft("RGB", (SIDE, SIDE))
            drawn = picture.convert("RGBA" if picture.mode in _CLEAR else "RGB")
        drawn.thumbnail((SIDE, SIDE))
        out = io.BytesIO()
        if drawn.mode == "RGBA":
            drawn.save(out, "PNG")
            kind = "png"
        else:
            drawn.save(out, "JPEG", quality=QUALITY)
            kind = "jpeg"
    except Exception:  # noqa: BLE001 - Pillow tells of damaged pictures in a dozen ways
        return None
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
