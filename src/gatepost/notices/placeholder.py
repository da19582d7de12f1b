"""The text that takes the place of an object (action `placeholder`, row F-AV-17). Called at disposal."""

from gatepost.notices.facts import MessageFacts, ObjectFacts, build_values
from gatepost.notices.template import Template

LAST_RESORT = "An attachment of this message was removed by the mail gateway.\r\n"
"""Given when the administrator's template yields no text: an empty part would look like lost mail."""


def build_placeholder(template: Template, facts: ObjectFacts, message: MessageFacts) -> bytes:
    """Return the body of the text/plain; charset=utf-8 part that replaces an object: UTF-8, CRLF at every line end."""
    text = template.render(build_values(message, (facts,)))
    if not text.strip():
        text = LAST_RESORT
    return (text if text.endswith("\r\n") else text + "\r\n").encode()
