"""The tracking store: what became of every mail and every refused attempt, a SQLite file for each day of acceptance."""
