"""What is raised when a filter, or what speaks in its place, lies."""


class HostileAnswer(Exception):  # noqa: N818 - what the other side did, not a failure of ours
    """A filter (or what speaks in its place) said something that no sound filter says."""
