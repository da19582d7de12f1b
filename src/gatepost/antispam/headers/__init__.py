"""Header and structure signs: what the header of a message and its build say of who made it."""
