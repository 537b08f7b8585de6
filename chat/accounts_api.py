"""Accounts over plain HTTP (docs/protocol.md 9): one small JSON request, one answer, never a cookie."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final, Protocol

import h11
import msgspec
import structlog
import trio

from chat.accounts import Accounts
from chat.config import is_loopback
from chat.errors import ErrorCode, Refused
from chat.measures import Counts
from chat.names import display_name, name_key
from chat.ops import Answer, json_answer
from chat.tokens import IssuedToken
from chat.transport import HeadTimeout
from chat.try_limits import TryLimits
from storage import StorageError, StoreClosed, Unavailable

BODY_MAX_BYTES: Final = 4096
_PREFLIGHT_S: Final = 600
_METHODS: Final = "POST, OPTIONS"
_STATUS: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.CONFLICT: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.TIMEOUT: 503,
    ErrorCode.INTERNAL: 500,
}
_log = structlog.get_logger("chat.accounts")


class Credentials(msgspec.Struct, frozen=True):
    """The body of a login or a registration."""

    name: str
    password: str


class Body(Protocol):
    """Where a request's body comes from."""

    async def read_body(self, size: int, *, timeout_s: float) -> bytes:
        """Its `size` bytes.

        Raises:
            HeadTimeout: they did not come in time.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsApiLimits:
    """What a request may take.

    Attributes:
        registration: whether people may make accounts for themselves.
        body_timeout_s: for the body to come.
        timeout_s: for the answer, from then on.
    """

    registration: bool
    body_timeout_s: float
    timeout_s: float


class AccountsApi:
    """Answers requests under `/api/`.

    Args:
        accounts: does it.
        limits: see `AccountsApiLimits`.
        tries: how often passwords may be tried; from loopback only names are limited.
        clock: seconds, monotonic.
        counts: what is counted on the way.
        refused: errors told, by code.
        ready: whether the server takes work.
    """

    def __init__(
        self,
        accounts: Accounts,
        limits: AccountsApiLimits,
        *,
        tries: TryLimits,
        clock: Callable[[], float],
        counts: Counts,
        refused: Counter[ErrorCode],
        ready: Callable[[], bool],
    ) -> None:
        self._accounts = accounts
        self._tries = tries
        self._clock = clock
        self._counts = counts
        self._limits = limits
        self._refused = refused
        self._ready = ready

    async def answer(
        self,
        request: h11.Request,
        headers: Mapping[bytes, bytes],
        body: Body,
        *,
        peer: str,
        origin_allowed: bool,
    ) -> Answer:
        """Do what a request asks for.

        Args:
            request: its head.
            headers: by name, in small letters.
            body: what follows the head.
            peer: the address that asks.
            origin_allowed: whether the web page that asks, if it is one, may.

        Raises:
            trio.BrokenResourceError: the peer left.
        """
        answer = await self._answer(request, headers, body, peer=peer, origin_allowed=origin_allowed)
        more = [("cache-control", "no-store"), ("vary", "origin")]
        origin = headers.get(b"origin")
        if origin is not None and origin_allowed:
            more.append(("access-control-allow-origin", origin.decode("ascii", "replace")))
        return answer._replace(headers=(*answer.headers, *more))

    async def _answer(
        self,
        request: h11.Request,
        headers: Mapping[bytes, bytes],
        body: Body,
        *,
        peer: str,
        origin_allowed: bool,
    ) -> Answer:
        call = self._find(request.target.partition(b"?")[0])
        if call is None:
            return _problem(404, ErrorCode.NOT_FOUND, "not found")
        if not origin_allowed:
            return _problem(403, ErrorCode.FORBIDDEN, "that origin may not ask")
        if request.method == b"OPTIONS":
            allowed = [
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "authorization, content-type"),
                ("access-control-max-age", str(_PREFLIGHT_S)),
            ]
            return Answer(204, "", b"", (("allow", _METHODS), *allowed))
        if request.method != b"POST":
            problem = _problem(405, ErrorCode.BAD_REQUEST, "this address takes POST")
            return problem._replace(headers=(("allow", _METHODS),))
        try:
            content = await self._read(headers, body)
        except HeadTimeout:
            return _problem(408, ErrorCode.TIMEOUT, "the body did not come in time")
        except _Unreadable as unreadable:
            return _problem(unreadable.status, unreadable.code, str(unreadable))
        try:
            if not is_loopback(peer):
                self._tries.count_address(peer, self._clock())
            return await self._in_time(call, headers, content)
        except Refused as refused:
            if refused.code is ErrorCode.RATE_LIMITED:
                self._counts.logins_limited += 1
            self._refused[refused.code] += 1
            return _refusal(refused)

    def _find(self, path: bytes) -> "_Call | None":
        match path:
            case b"/api/login":
                return self._login
            case b"/api/register" if self._limits.registration:
                return self._register
            case b"/api/logout":
                return self._logout
            case _:
                return None

    async def _read(self, headers: Mapping[bytes, bytes], body: Body) -> bytes:
        if b"transfer-encoding" in headers:
            raise _Unreadable(411, ErrorCode.BAD_REQUEST, "say the body's Content-Length")
        size = int(headers.get(b"content-length", b"0"))
        if size > BODY_MAX_BYTES:
            raise _Unreadable(413, ErrorCode.TOO_LARGE, f"the body is larger than {BODY_MAX_BYTES} bytes")
        return await body.read_body(size, timeout_s=self._limits.body_timeout_s) if size else b""

    async def _in_time(self, call: "_Call", headers: Mapping[bytes, bytes], content: bytes) -> Answer:
        """Do it within the time for it.

        Raises:
            Refused: also for what the store raises.
        """
        if not self._ready():
            raise Refused(ErrorCode.OVERLOADED, "the server takes no work now", retry_after_s=5.0)
        with trio.move_on_after(self._limits.timeout_s):
            try:
                return await call(headers, content)
            except (Unavailable, StoreClosed):
                raise Refused(ErrorCode.UNAVAILABLE, "the database is away", retry_after_s=2.0) from None
            except StorageError as error:
                _log.exception("accounts.storage_failed")
                raise Refused(ErrorCode.INTERNAL, "the database failed", retry_after_s=1.0) from error
        raise Refused(ErrorCode.TIMEOUT, "no answer in time", retry_after_s=1.0)

    async def _login(self, headers: Mapping[bytes, bytes], content: bytes) -> Answer:
        asked = _credentials(headers, content)
        self._tries.count_name(name_key(display_name(asked.name, field="name")), self._clock())
        return _token(200, await self._accounts.login(asked.name, asked.password))

    async def _register(self, headers: Mapping[bytes, bytes], content: bytes) -> Answer:
        asked = _credentials(headers, content)
        return _token(201, await self._accounts.register(asked.name, asked.password))

    async def _logout(self, headers: Mapping[bytes, bytes], content: bytes) -> Answer:
        del content  # the token says it all
        scheme, _, token = headers.get(b"authorization", b"").decode("ascii", "replace").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(ErrorCode.UNAUTHENTICATED, "say which token: Authorization: Bearer pt_...")
        await self._accounts.logout(token.strip())
        return Answer(204, "", b"")


_Call = Callable[[Mapping[bytes, bytes], bytes], Awaitable[Answer]]


class _Unreadable(Exception):
    """A body that is not read."""

    def __init__(self, status: int, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _credentials(headers: Mapping[bytes, bytes], content: bytes) -> Credentials:
    kind, _, parameters = headers.get(b"content-type", b"").decode("ascii", "replace").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in {"", "utf-8"}:
        raise Refused(ErrorCode.BAD_REQUEST, "the body is application/json", field="content-type")
    try:
        return msgspec.json.decode(content, type=Credentials)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Refused(ErrorCode.BAD_REQUEST, 'the body is {"name": "...", "password": "..."}') from None


def _token(status: int, issued: IssuedToken) -> Answer:
    return json_answer(status, {"token": issued.token, "expires_at": issued.expires_at_ms})


def _refusal(refused: Refused) -> Answer:
    body: dict[str, object] = {"error": refused.code.value, "message": refused.message}
    headers: list[tuple[str, str]] = []
    if refused.field is not None:
        body["field"] = refused.field
    if refused.retry_after_s is not None:
        body["retry_after"] = refused.retry_after_s
        headers.append(("retry-after", str(ceil(refused.retry_after_s))))
    if refused.code is ErrorCode.UNAUTHENTICATED:
        headers.append(("www-authenticate", "Bearer"))
    status = 415 if refused.field == "content-type" else _STATUS[refused.code]
    return json_answer(status, body)._replace(headers=tuple(headers))


def _problem(status: int, code: ErrorCode, message: str) -> Answer:
    return json_answer(status, {"error": code.value, "message": message})
