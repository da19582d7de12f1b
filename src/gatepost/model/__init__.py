"""Layer 1: the values everything else speaks in.

Frozen, typed, without behaviour that touches the world: no I/O, no clock, no logger. Every layer above imports
these; they import nothing of ours.
"""
