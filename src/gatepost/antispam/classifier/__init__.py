"""The statistical classifier: features of a message, a base model that is shipped, weights that are learned on top.

`docs/adr/0002-classifier.md` says why it is built like this, with the figures.
"""
