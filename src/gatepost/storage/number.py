"""The number of a database's schema (`user_version`), which each of the gateway's databases carries.

Asked by whoever opens one; `gatepost.migration` brings databases from one number to another.
"""

import apsw


class NewerFormat(ValueError):  # noqa: N818 - named for what is wrong
    """The database was written by a later version of the program, which has to be used, or asked to bring it back."""


def check_number(connection: apsw.Connection, path: object, known: int) -> int:
    """Return the number of a database, 0 for one without; `known` is the program's. NewerFormat, apsw.Error."""
    number = int(connection.pragma("user_version"))
    if number > known:
        raise NewerFormat(f"{path} has version {number}; this program knows version {known}")
    return number
