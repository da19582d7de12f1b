"""Openers: one module for each family of containers, all behind `antivirus.opening.Opener`.

An opener yields what is inside, and says of everything it cannot give why. It raises nothing but `OverBudget`; it takes
every member and every byte from the message's budget while it streams, never after.
"""
