"""The package's own errors; everything else is trio's Closed, Broken and Busy errors."""


class TransportError(Exception):
    """Base of what this package raises by itself: always the peer's fault."""


class HeadTooLarge(TransportError):
    """A request head did not end within its limit; the stream is open, so 431 can be sent."""


class HeadTimeout(TransportError):
    """A request head or body did not arrive in time; the stream is open, so 408 can be sent."""
