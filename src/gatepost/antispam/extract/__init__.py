"""Texts as their readers see them: web pages, plain text, RTF, Word, PDF, codes in pictures; and their form for
matching.

Called by `antispam.view` in the filter. Everything here is linear in its input, bounded by named limits, and raises
nothing for what a message holds.
"""
