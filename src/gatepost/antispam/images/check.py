"""The check of images: which known image a picture of the mail is a copy of (method GSG)."""

import io
from typing import Final

from PIL import Image

from gatepost.antispam.check import Notes
from gatepost.antispam.images.base import ImageBase, parse_images
from gatepost.antispam.images.looks import FORMATS, PLAIN_WINDOWS, build_looks
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.view import MailView
from gatepost.model.spam import Method

SUFFIX: Final = ".pictures"
PICTURES_LIMIT: Final = 8
"""Pictures of one mail that are looked at: each may take ten milliseconds."""
WEIGHT: Final = 6.5
PROBABLE_WEIGHT: Final = 4.4
"""For images whose category is not below `spam`."""


class ImagesCheck:
    """Content check; see the module. It costs nothing while no image is known."""

    name = "images"

    def __init__(self, knowledge: Knowledge) -> None:
        """ValueError: a file is faulty."""
        files = knowledge.by_suffix(SUFFIX)
        self._base = ImageBase(image for path, data in files for image in parse_images(path, data))
        _warm()

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Note known images, each once."""
        if not view.options.images or not len(self._base):
            return
        known: set[str] = set()
        for _, data in view.pictures[:PICTURES_LIMIT]:
            found = self._base.find(build_looks(data, PLAIN_WINDOWS))
            if found is None or found.name in known:
                continue
            known.add(found.name)
            weight = WEIGHT if found.category.startswith("spam/") or found.category == "spam" else PROBABLE_WEIGHT
            notes.categories[found.category] = max(notes.categories.get(found.category, 0.0), weight)
            text = (
                f"a picture looks like the known image “{found.name}” ({found.category}), {1 - found.unlike:.0%} alike"
            )
            notes.sign(Method.IMAGES, "known-image", text, weight if len(known) == 1 else 0.0)


def _warm() -> None:
    """Have Pillow import all its formats: behind the walls no file can be opened."""
    picture = Image.linear_gradient("L").resize((64, 64))
    for form in FORMATS:
        stream = io.BytesIO()
        picture.save(stream, form)
        build_looks(stream.getvalue(), PLAIN_WINDOWS)
