"""`gatepost spam`: what anti-spam makes of mail, and what it learns. Each sub-command has a module of its own."""

import cyclopts

app = cyclopts.App(name="spam", help="What anti-spam makes of mail, and why; what it learns.")
# By name: a command brings in what it needs, and no other's.
for _name, _place, _help in (
    ("explain", "spam_explain:explain", "Say what a message would be rated, and why."),
    ("test", "spam_test:rate_files", "Rate many messages: a line each."),
    ("evaluate", "spam_test:evaluate", "Rate labelled messages, and say how well."),
    ("learn", "spam_learn:learn", "Teach messages to the classifier: spam, or wanted mail."),
    ("forget", "spam_learn:forget", "Take back what messages taught."),
    ("undo", "spam_learn:undo", "Take back all that somebody taught."),
    ("status", "spam_learn:status", "How much was learned, from whom, and how well it agrees."),
    ("recent", "spam_learn:recent", "The latest lessons."),
    ("model", "spam_learn:model", "What was learned, as a file: backup, restore, share."),
    ("sample", "spam_samples:sample", "Own sample messages: add, list, remove, compile."),
    ("terms", "spam_terms:app", "Weighted terms of your own: check a file of them."),
    ("image", "spam_samples:image", "Own known images: add, list, remove, compile."),
):
    app.command(f"gatepost.cli.{_place}", name=_name, help=_help)
