"""`gatepost spam`: what anti-spam makes of mail, and what it learns. Each sub-command has a module of its own."""

import cyclopts

app = cyclopts.App(name="spam", help="What anti-spam makes of mail, and why; what it learns.")
# By name: a command brings in what it needs, and no other's.
for _name, _place, _help in (
    ("explain", "spam_explain:explain", "Say what a message would be rated, and why."),
    ("sample", "spam_samples:sample", "Own sample messages: add, list, remove, compile."),
    ("image", "spam_samples:image", "Own known images: add, list, remove, compile."),
):
    app.command(f"gatepost.cli.{_place}", name=_name, help=_help)
