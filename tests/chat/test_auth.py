"""Who a hello is: guests by a signed token, registered users by an opaque one."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import jwt
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chat.auth import (
    GUEST_ROLE,
    GUEST_SECRET_NAME,
    Authenticator,
    Principal,
    open_authenticator,
)
from chat.errors import ErrorCode, Refused
from chat.tokens import create_token, token_hash
from storage import MemoryStore, Store

DAY_MS: Final = 86_400_000
SECRET: Final = bytes(range(32))


class Clock:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        return self.ms


def entropy() -> Callable[[int], bytes]:
    """Bytes that differ from call to call and are the same in every run."""
    calls = iter(range(1, 10_000))
    return lambda size: next(calls).to_bytes(size, "big")


@asynccontextmanager
async def authenticator(
    store: Store | None = None, *, guests: bool = True, clock: Clock | None = None
) -> AsyncGenerator[Authenticator]:
    """An authenticator at work on the in-memory store."""
    auth = await open_authenticator(
        store or MemoryStore(), guests=guests, now_ms=clock or Clock(), random_bytes=entropy()
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(auth.run)
        yield auth
        nursery.cancel_scope.cancel()


async def refusal(auth: Authenticator, token: str | None, guest: str | None = None) -> ErrorCode:
    """How a hello is refused."""
    with pytest.raises(Refused) as refused:
        await auth.sign_in(token=token, guest=guest, request_id=3)
    assert refused.value.request_id == 3
    return refused.value.code


def newcomer_refusal(auth: Authenticator, guest: str) -> ErrorCode:
    """How a hello with a guest's name alone is refused."""
    with pytest.raises(Refused) as refused:
        auth.admit_newcomer(guest, request_id=3)
    assert refused.value.request_id == 3
    return refused.value.code


async def test_a_guest_gets_an_id_a_name_and_a_token() -> None:
    """A guest's name is normalised, and the token in the answer is worth the whole time."""
    clock = Clock()
    async with authenticator(clock=clock) as auth:
        signed_in = auth.admit_newcomer("  Zoe\u0308 ")

    assert signed_in.principal == Principal(
        user_id=signed_in.principal.user_id, name="Zo\u00eb", role=GUEST_ROLE, is_guest=True
    )
    assert signed_in.principal.user_id.startswith("g_")
    assert signed_in.token
    assert signed_in.expires_at_ms == clock.ms + 180 * DAY_MS


async def test_a_guest_token_brings_the_same_person_back_after_a_restart() -> None:
    """The secret outlives the process: another authenticator on the same store knows the guest again."""
    store = MemoryStore()
    async with authenticator(store) as auth:
        first = auth.admit_newcomer("ann")
    async with authenticator(store) as auth:
        again = await auth.sign_in(token=first.token, guest=None)

    assert again.principal == first.principal
    assert again.token is None


async def test_a_guest_who_keeps_coming_back_stays_for_good() -> None:
    """In the second half of a token's life its guest gets a new one; after its end it is refused."""
    clock = Clock()
    async with authenticator(clock=clock) as auth:
        first = auth.admit_newcomer("ann")
        clock.ms += 100 * DAY_MS
        renewed = await auth.sign_in(token=first.token, guest=None)
        clock.ms += 100 * DAY_MS

        assert renewed.principal == first.principal
        assert await refusal(auth, first.token) == ErrorCode.UNAUTHENTICATED
        assert (await auth.sign_in(token=renewed.token, guest=None)).principal == first.principal


async def test_two_guests_of_one_name_are_two_people() -> None:
    """A guest's name is nobody's own."""
    async with authenticator() as auth:
        one = auth.admit_newcomer("ann")
        other = auth.admit_newcomer("ann")

    assert one.principal.user_id != other.principal.user_id


async def test_guests_are_let_in_only_where_they_may() -> None:
    """With guests off neither a name nor an old guest token helps."""
    store = MemoryStore()
    async with authenticator(store) as auth:
        token = auth.admit_newcomer("ann").token
    async with authenticator(store, guests=False) as auth:
        assert newcomer_refusal(auth, "ann") == ErrorCode.UNAUTHENTICATED
        assert await refusal(auth, token) == ErrorCode.UNAUTHENTICATED


async def test_a_hello_says_one_thing() -> None:
    """Neither token nor name, both, or a name that shows nothing: `bad_request`."""
    async with authenticator() as auth:
        assert await refusal(auth, None, None) == ErrorCode.BAD_REQUEST
        assert await refusal(auth, "x", "ann") == ErrorCode.BAD_REQUEST
        assert newcomer_refusal(auth, "  ") == ErrorCode.BAD_REQUEST


def forged(**changes: object) -> dict[str, object]:
    """The claims of a guest's token, with changes; None takes one out."""
    claims: dict[str, object] = {
        "sub": "g_abcdefghij234567",
        "name": "ann",
        "iat": 1_700_000_000,
        "exp": 1_700_100_000,
        "aud": "parley",
        "iss": "parley:guest",
    }
    return {key: value for key, value in (claims | changes).items() if value is not None}


async def test_a_well_made_guest_token_is_the_baseline_of_the_forgeries() -> None:
    """The claims that the next test changes are good as they stand."""
    auth = Authenticator(
        MemoryStore(), guest_secret=SECRET, guests=True, now_ms=Clock(), random_bytes=entropy()
    )
    token = jwt.encode(forged(), SECRET, algorithm="HS256")

    assert (await auth.sign_in(token=token, guest=None)).principal.name == "ann"


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(forged(), bytes(32), algorithm="HS256"),
        jwt.encode(forged(), SECRET + SECRET, algorithm="HS512"),
        jwt.encode(forged(), "", algorithm="none"),
        jwt.encode(forged(aud="other"), SECRET, algorithm="HS256"),
        jwt.encode(forged(iss="other"), SECRET, algorithm="HS256"),
        jwt.encode(forged(exp=None), SECRET, algorithm="HS256"),
        jwt.encode(forged(exp=1_600_000_000), SECRET, algorithm="HS256"),
        jwt.encode(forged(name=None), SECRET, algorithm="HS256"),
        jwt.encode(forged(name=7), SECRET, algorithm="HS256"),
        jwt.encode(forged(sub="u_abcdefghij234567"), SECRET, algorithm="HS256"),
        jwt.encode(forged(sub="g_'; --"), SECRET, algorithm="HS256"),
        jwt.encode(forged(), SECRET, algorithm="HS256")[:-2],
        "",
        "a.b.c",
        "....",
        "\ud800",
        "p\u0442_" + "A" * 43,
        "pt_",
        "pt_" + "A" * 42,
        "pt_" + "A" * 43,
        "pt_" + "\ud800" * 43,
        "x" * 4096,
    ],
)
async def test_a_token_that_is_not_ours_is_unauthenticated(token: str) -> None:
    """Forged, foreign, cut, expired, unknown or nonsensical: one answer, and no crash."""
    auth = Authenticator(
        MemoryStore(), guest_secret=SECRET, guests=True, now_ms=Clock(), random_bytes=entropy()
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(auth.run)

        assert await refusal(auth, token) == ErrorCode.UNAUTHENTICATED
        nursery.cancel_scope.cancel()


async def test_a_registered_token_speaks_for_its_user() -> None:
    """A token made for a name brings that user's id, name, role and age; a second one the same user."""
    store, clock = MemoryStore(), Clock()
    bytes_of = entropy()
    one = await create_token(store, "Ann", "moderator", now_ms=clock(), random_bytes=bytes_of)
    made_at_ms = clock.ms
    clock.ms += DAY_MS
    two = await create_token(store, " Ann ", now_ms=clock(), random_bytes=bytes_of)

    async with authenticator(store, guests=False) as auth:
        signed_in = [await auth.sign_in(token=issued.token, guest=None) for issued in (one, two)]

    assert one.token != two.token
    assert one.token.startswith("pt_")
    assert len(one.token) == 46
    assert signed_in[0].principal == signed_in[1].principal
    assert [each.token_hash for each in signed_in] == [token_hash(one.token), token_hash(two.token)]
    assert signed_in[0].principal == Principal(
        user_id=one.user.user_id,
        name="Ann",
        role="moderator",
        is_guest=False,
        registered_at_ms=made_at_ms,
    )


async def test_a_registered_token_ends_when_it_was_told_to() -> None:
    """A token with an end is good before it and refused from it on."""
    store, clock = MemoryStore(), Clock()
    issued = await create_token(
        store, "ann", now_ms=clock(), random_bytes=entropy(), expires_at_ms=clock() + DAY_MS
    )
    async with authenticator(store, clock=clock) as auth:
        assert (await auth.sign_in(token=issued.token, guest=None)).expires_at_ms == clock() + DAY_MS
        clock.ms += DAY_MS

        assert await refusal(auth, issued.token) == ErrorCode.UNAUTHENTICATED


async def test_a_crowd_of_tokens_is_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many hellos at once cost the database a few calls."""
    store = MemoryStore()
    bytes_of = entropy()
    tokens = [
        (await create_token(store, f"user {n}", now_ms=0, random_bytes=bytes_of)).token for n in range(50)
    ]
    calls: list[int] = []
    find_tokens = store.find_tokens

    async def counted(hashes: list[bytes], *, at_ms: int) -> object:
        calls.append(len(hashes))
        await trio.lowlevel.checkpoint()
        return await find_tokens(hashes, at_ms=at_ms)

    monkeypatch.setattr(store, "find_tokens", counted)
    names: list[str] = []

    async def sign_in(auth: Authenticator, token: str) -> None:
        names.append((await auth.sign_in(token=token, guest=None)).principal.name)

    async with authenticator(store) as auth, trio.open_nursery() as clients:
        for token in tokens:
            clients.start_soon(sign_in, auth, token)

    assert sorted(names) == sorted(f"user {n}" for n in range(50))
    assert sum(calls) == 50
    assert len(calls) <= 3


async def test_an_unreachable_database_is_temporary_and_keeps_guests_coming() -> None:
    """While tokens cannot be looked up their owners are told `unavailable`, and guests come back as ever."""
    auth = Authenticator(
        MemoryStore(), guest_secret=SECRET, guests=True, now_ms=Clock(), random_bytes=entropy(), timeout_s=0.0
    )  # nobody runs it: no look-up ever ends

    assert await refusal(auth, "pt_" + "A" * 43) == ErrorCode.UNAVAILABLE
    guest = auth.admit_newcomer("ann")
    assert (await auth.sign_in(token=guest.token, guest=None)).principal == guest.principal


async def test_a_role_is_checked_and_never_changed_by_the_way() -> None:
    """An unknown role is refused, and so is a token with another role than the user has."""
    store = MemoryStore()
    with pytest.raises(Refused, match="the role is one of user, moderator, admin"):
        await create_token(store, "ann", "king", now_ms=0, random_bytes=entropy())
    await create_token(store, "ann", now_ms=0, random_bytes=entropy())
    with pytest.raises(Refused, match="ann exists with the role user") as refused:
        await create_token(store, "ann", "admin", now_ms=0, random_bytes=entropy())

    assert refused.value.code == ErrorCode.CONFLICT


async def test_the_store_never_sees_a_token() -> None:
    """Only the SHA-256 of a token is stored."""
    store = MemoryStore()
    issued = await create_token(store, "ann", now_ms=0, random_bytes=entropy())
    found = await store.find_tokens([token_hash(issued.token), issued.token.encode()], at_ms=0)

    assert list(found) == [token_hash(issued.token)]


async def test_two_servers_that_start_at_once_agree_on_the_secret() -> None:
    """The first to ask makes the guests' secret; everybody else gets that one."""
    store = MemoryStore()
    tokens: list[str | None] = []

    async def start() -> None:
        async with authenticator(store) as auth:
            tokens.append(auth.admit_newcomer("ann").token)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        nursery.start_soon(start)
        await wait_all_tasks_blocked()
    async with authenticator(store) as auth:
        for token in tokens:
            assert (await auth.sign_in(token=token, guest=None)).principal.name == "ann"
    assert await store.secret(GUEST_SECRET_NAME, b"another") != b"another"


def test_a_short_secret_is_a_mistake() -> None:
    """A secret that could be guessed signs nothing."""
    with pytest.raises(ValueError, match="32 bytes"):
        Authenticator(
            MemoryStore(), guest_secret=b"short", guests=True, now_ms=Clock(), random_bytes=entropy()
        )
