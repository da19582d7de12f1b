"""The command `gatepost`: one program, its sub-commands each in a module of this package.

Exit codes are the documented ones; errors go to standard error as one sentence that says how to mend it.
"""

import os
import sys

import cyclopts
from cyclopts import CycloptsPanel

from gatepost import __version__
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, EXIT_NOT_DONE, EXIT_UNREADABLE, Caller, ConfigFile
from gatepost.cli.switching import add_actions


def _tell(error: cyclopts.CycloptsError) -> object:
    """Return what is printed of wrong usage.

    Where a command with options of its own has sub-commands, a word too many is one of these misspelt.
    """
    words = error.unused_tokens or []
    if isinstance(error, cyclopts.UnusedCliTokensError) and error.app:
        if any(not name.startswith("-") for name in error.app):
            error = cyclopts.UnknownCommandError(app=error.app, unused_tokens=words, verbose=False)
        else:
            error = cyclopts.CycloptsError(msg=f"Nothing is known to do with: {' '.join(words)}", verbose=False)
    return CycloptsPanel(error)


app = cyclopts.App(
    name="gatepost",
    help="A mail security gateway: takes mail in, filters it, passes it on.",
    version=__version__,
    # No --empty-NAME beside a list: what is not given is empty.
    default_parameter=cyclopts.Parameter(negative_iterable=()),
    error_formatter=_tell,
)
# By name: a command brings in what it needs, and no other's.
for _name, _place, _help in (
    ("setup", "setup:setup", "Set the gateway up: questions or a file of answers, configuration, databases, start."),
    ("start", "run:start", "Start the gateway as a daemon, and wait until it is in service."),
    ("stop", "run:stop", "Stop the gateway cleanly, and wait until it has ended."),
    ("restart", "run:restart", "Stop the gateway if it runs, and start it."),
    ("run", "run:run", "Run the gateway in the foreground, for service managers and containers."),
    ("doctor", "doctor:doctor", "What is wrong with the gateway and its host, and how to mend it."),
    ("top", "top:top", "Watch the running gateway: rates, queue, slowest steps, busiest senders, processes."),
    ("status", "status:status", "Show whether the gateway runs, its modules, processes, queue and counters."),
    ("stats", "stats:stats", "Write the statistics file and print it, by documented names."),
    ("trace", "trace:trace", "Where a mail is and why: its life as a time line, or the mails that match."),
    ("queue", "queue_options:app", "What waits here, why, and what to do about it."),
    ("quarantine", "store_apps:quarantine", "Messages kept apart: show, release, delete them."),
    ("lists", "lists:app", "Allow and block lists: show, add, remove, import, export."),
    ("digests", "digests:digests", "Tell recipients now of what is kept for them as spam."),
    ("backup", "backup:app", "Save the gateway in one file; originals of changed mail: show, release, delete."),
    ("restore", "backup:restore", "Put a backup of the gateway in place."),
    ("archive", "archive:app", "Archives of accepted and of sent messages: list, show, send again, delete."),
    ("bypass", "emergency:app", "In an emergency: mail passes unscanned, marked, for some minutes."),
    ("drain", "drain:drain", "Take no more mail, let what is here go, then stop."),
    ("config", "config:app", "Make, check, explain and convert configurations."),
    ("policy", "policy:app", "What the policy does with a message, and why."),
    ("rescan", "rescan:rescan", "Look at a kept message again, and show what differs."),
    ("rules", "rules:app", "Profiles and rules: check a set, say what it says, try mail on it."),
    ("shadow", "shadow:shadow", "What settings that are tried without effect would have changed."),
    ("template", "template:app", "Show, preview and check text templates."),
    ("spam", "spam:app", "What anti-spam makes of mail, and why; what it learns."),
    ("bases", "bases:app", "Databases of anti-virus and anti-spam: make, sign, show, verify."),
    ("uds", "uds:app", "Urgent detection service: serve, ask, report."),
    ("migrate", "migrate:app", "What is stored, brought to another format; another installation, taken over."),
    ("update", "update:app", "Databases: fetch newer ones, go back to earlier ones, mirror, schedule."),
    ("feed", "feed:app", "Update feeds of one's own: build, publish, renew, change keys, serve."),
    ("licence", "licence:app", "Licence keys: show, add, remove; issue and verify."),
    ("mib", "mib:mib", "Print the MIB of what SNMP shows."),
    ("client", "client:app", "Filtering for mail systems that stay: their client programs, set-up and undo."),
    ("account", "account:app", "Who may sign in to the console, and what they may do."),
    ("audit", "audit:app", "Who changed what, and who looked at whose mail."),
    ("password", "password:app", "Who may send mail through us after signing in, and with what password."),
    ("demo", "demo:demo", "Start a gateway on an embedded default and show what it does."),
):
    app.command(f"gatepost.cli.{_place}", name=_name, help=_help)


@app.command
def reload(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Take the configuration file anew; a broken one leaves the running configuration in force and says why."""
    print(Caller(conf_file)("reload"))
    return 0


@app.command
def reloadbases(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Take the databases of signatures anew; ones that cannot be trusted leave the running ones in force."""
    print(Caller(conf_file)("reloadbases"))
    return 0


add_actions(app)


def run_command() -> None:
    """Entry point of the `gatepost` command. Bad options end with the documented code 1."""
    try:
        try:
            result = app(sys.argv[1:], exit_on_error=False, result_action="return_value")
        finally:
            sys.stdout.flush()  # not when Python ends: a reader that has gone is an error of its own there
    except cyclopts.CycloptsError:
        sys.exit(EXIT_BAD_OPTIONS)
    except EOFError:
        # Something was asked (a passphrase, a password) where nobody can answer, as in a job of cron.
        print("\nthere is nobody to ask: standard input has ended, give it by an option (--help)", file=sys.stderr)
        sys.exit(EXIT_BAD_OPTIONS)
    except PermissionError as error:
        # Of a file of the gateway's. One of the program itself that cannot be read fails before we run.
        print(f"{error.filename or 'the gateway'}: {error.strerror}: run this as its owner or as root", file=sys.stderr)
        sys.exit(EXIT_UNREADABLE)
    except BrokenPipeError:
        # Whoever read the output has seen enough (`| head`). What is left of it must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_NOT_DONE)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    run_command()
