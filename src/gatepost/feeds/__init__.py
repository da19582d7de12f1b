"""Signed databases: what a set is, who may sign it, which ones are used, and their compiled form on disk."""
