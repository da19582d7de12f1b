"""Stores: quarantine, backup and archives as directories of message files with a searchable index."""
