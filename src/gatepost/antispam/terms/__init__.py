"""Weighted terms and phrases in categories (F-AS-14), and obscene words (F-AS-22)."""
