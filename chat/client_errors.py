"""What the client raises; stands alone, so that every client module may import it.

Split by whose turn it is: a refusal is the server's answer to one request, an end is the connection's, a full
queue or a closed client is the caller's own.
"""

from collections.abc import Mapping

from chat.errors import ChatError


class ClientError(ChatError):
    """Root of everything that the client raises on purpose."""


class RequestRefused(ClientError):
    """The server answered `error` (docs/protocol.md 7).

    Attributes:
        code: which error; kept as the server's text, for a newer server may know more of them.
        message: one sentence for a person.
        temporary: whether the same request may work later.
        retry_after_s: when it may, in seconds from the answer.
        field: the request's field at fault.
        current: for `conflict`, the `value` and `version` that are there; else empty.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        temporary: bool = False,
        retry_after_s: float | None = None,
        field: str | None = None,
        current: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.temporary = temporary
        self.retry_after_s = retry_after_s
        self.field = field
        self.current = dict(current or {})

    @classmethod
    def from_envelope(cls, envelope: Mapping[str, object]) -> "RequestRefused":
        """The refusal that an `error` envelope carries; missing or odd fields count as absent."""
        retry_after = envelope.get("retry_after")
        field = envelope.get("field")
        return cls(
            str(envelope.get("code", "internal")),
            str(envelope.get("message", "")),
            temporary=envelope.get("temporary") is True,
            retry_after_s=float(retry_after) if isinstance(retry_after, int | float) else None,
            field=field if isinstance(field, str) else None,
            current={name: envelope[name] for name in ("value", "version") if name in envelope},
        )


class RequestTimeout(ClientError):
    """No answer in time. The request may still have happened."""


class ConnectionLost(ClientError):
    """The connection broke before the answer; the client reconnects. The request may have happened."""


class ConnectFailed(ClientError):
    """No first connection within the time for it; the cause is the last attempt's."""


class ConnectionEnded(ClientError):
    """The server ended it for good: the client does not come back.

    Attributes:
        code: the close code (docs/protocol.md 8), 1008 where `hello` was refused for good.
        reason: the server's words.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the server ended the connection: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class ClientClosed(ClientError):
    """The caller closed this client."""


class OutboundFull(ClientError):
    """So many messages wait to be stored that this one was not taken; nothing was queued."""


class ServerMisbehaved(ClientError):
    """The server sent what the protocol does not know: the connection is dropped."""
