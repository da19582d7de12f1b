"""What is fuzzed: one module for each target, run by `tools/fuzz.py` (guided, long) and by the tests (the kept corpus).

A target module has

- `execute(data)`: takes any bytes and raises when a promise of the code under test is broken;
- `seeds()`: inputs to begin with, made from the grammar;
- `WORDS`: what the language is made of, for the dictionary;
- `LENGTH_LIMIT`: longest input in bytes that is worth a try;
- `INSTRUMENTED`: packages whose coverage guides the search.
"""

from typing import Final

NAMES: Final = (
    "rules_xml",
    "server",
    "client",
    "addresses",
    "parameters",
    "replies",
    "proxy",
    "dns",
    "zips",
    "archives",
    "locked",
    "images",
    "discs",
    "envelopes",
    "pdf",
    "office",
    "ole",
    "hwp",
    "rtf",
    "pages",
    "tnef",
    "mailfiles",
    "structure",
    "line_ends",
    "edits",
    "encodings",
    "mails",
    "cured_pages",
    "cured_documents",
    "cured_archives",
    "engines",
    "asked",
    "frames",
    "milter",
    "templates",
    "signatures",
    "items",
    "passwords",
    "signs",
    "authn_records",
    "authn_mails",
    "uds",
    "text_pages",
    "text_documents",
    "spam_files",
    "spam_pictures",
    "lessons",
    "icap_requests",
    "handed_over",
    "filtering",
)
"""All targets: protocols, openers, mail, cures, what is told between processes, and what is read from disks."""
