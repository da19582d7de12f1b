"""The James protocol dialogues of the shared material, as far as what they need exists.

What James itself words differently (greeting, texts, keyword lists) is compared by code and enhanced class.
"""

import re

import pytest
from smtp_dialogue import protocol_tests, serve_every_way

from gatepost.smtp import server as s

STATUS = re.compile(r"[0-9]{3}(?: [245](?=\.))?")
SKIPPED = {
    "authplain.test": "AUTH is not offered",
    "starttls.test": "STARTTLS is not offered; its refusal is tested below",
    "starttls_session_fixation.test": "needs AUTH and STARTTLS",
    "starttls_with_injection.test": "STARTTLS is not offered: there is no change of layer to inject across",
}


def test_dialogues():
    dialogues = protocol_tests("smtp/james-mpt/")
    played = 0
    for name, text in dialogues.items():
        if name in SKIPPED:
            continue
        rows = [(row[0], row[2:].removeprefix(" ")) for row in text.splitlines() if row[1:2] == ":"]
        sent = "".join(row + "\r\n" for who, row in rows if who == "C")
        wanted = [row for who, row in rows if who == "S" and not row.startswith(("250-", "220"))]
        wanted = [row for row in wanted if row != "250.*" and row not in {"250 8BITMIME", "250 STARTTLS"}]
        served = serve_every_way(sent.encode())
        got = [line for line in served.lines if "-" not in line[:4]][1:]
        assert [STATUS.match(line)[0] for line in got] == [STATUS.match(row)[0] for row in wanted], name
        content = sent.split("data\r\n", 1)[1].removesuffix(".\r\n").encode()
        assert served.messages == [content], name
        played += 1
    assert played == len(dialogues) - len(SKIPPED) == 4


@pytest.mark.parametrize("stream", [b"STARTTLS\r\nMAIL FROM:<matthieu@yopmail.com>\r\n", b"AUTH LOGIN\r\n"])
def test_what_is_not_offered_is_not_understood(stream):
    served = serve_every_way(stream)
    assert served.codes[0] == 502
    assert served.of(s.MailFrom) == []
