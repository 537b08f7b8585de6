"""What ends a run that cannot be made, or cannot go on; the message says why, and what to do."""


class LoadError(Exception):
    """Root of them."""


class ServerUnusable(LoadError):
    """There is no server at the address, or not one that can be loaded."""


class RunFailed(LoadError):
    """The run began and could not be finished."""
