"""Layer 4: the spool. Mail exists from the moment a commit returns until every recipient has a final status.

`interface` is what the relay asks for; `writer.SqliteSpool` keeps it on SQLite; `shard` finds and locks directories.
"""
