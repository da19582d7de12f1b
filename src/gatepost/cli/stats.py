"""`gatepost stats`: write the statistics file of the running gateway, and show what is in it."""

from gatepost.cli.gateway import DEFAULT_FILE, AsJson, Caller, ConfigFile, print_json
from gatepost.control.statistics import render_statistics


def stats(*, json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Write the statistics file and print it: what was counted since the gateway started, by documented names."""
    answer = Caller(conf_file)("stats")
    if json:
        print_json(answer["values"])
    else:
        print(render_statistics(answer["values"]), end="")
    return 0
