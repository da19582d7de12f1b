"""The heap of a process that others are forked from: what its children share should be small, and stay shared.

Used by the fork server and the filters' template once they have loaded what their children need.
"""

import ctypes
import gc


def settle_heap() -> None:
    """Collect garbage, give free memory back to the system, and keep the collector away from what is left.

    Loading leaves holes: compiled rules need a fifth of the memory that their making took. The C library keeps
    it for later, in every process forked from here. A C library without `malloc_trim` (it is glibc's) keeps it.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    gc.freeze()
