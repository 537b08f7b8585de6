"""Registering and logging in: who gets a token, and what everybody else is told."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import pytest

from chat.accounts import Accounts, AccountServices
from chat.errors import ErrorCode, Refused
from chat.measures import Counts
from chat.names import name_key
from chat.passwords import Passwords
from chat.tokens import create_token, token_hash
from storage import MemoryStore, Store
from storage.testing import Fault, FaultyStore
from tests.sim.harness import at_once, virtual_time

MIB: Final = 1024 * 1024
NOW_MS: Final = 1_700_000_000_000
DAY_MS: Final = 86_400_000
GOOD: Final = "correct horse"
WRONG: Final = "another horse"


class Bench:
    """Accounts on a store in memory, and what stands around them."""

    def __init__(self, store: Store | None = None, *, memory_bytes: int = 19 * MIB, seed: int = 1) -> None:
        self.counts = Counts()
        self.revoked = 0
        self.store = store or MemoryStore()
        random_bytes = Random(seed).randbytes  # noqa: S311  a test's chance
        self.passwords = Passwords(
            memory_bytes=memory_bytes, threads=1, waiting_max=1, random_bytes=random_bytes, in_thread=at_once
        )
        self.accounts = Accounts(
            AccountServices(
                store=self.store,
                passwords=self.passwords,
                now_ms=lambda: NOW_MS,
                random_bytes=random_bytes,
                token_days=30,
                counts=self.counts,
                on_revoked=self._note_revoked,
            )
        )

    def _note_revoked(self) -> None:
        self.revoked += 1


async def refusal(attempt: Awaitable[object]) -> tuple[ErrorCode, str, str | None]:
    """How it is refused: code, words and field."""
    with pytest.raises(Refused) as refused:
        await attempt
    return refused.value.code, refused.value.message, refused.value.field


@virtual_time
async def test_who_registers_gets_a_token_and_logs_in_for_others() -> None:
    """Each token is good for its days and speaks for one user; the name's capitals do not matter."""
    bench = Bench()
    first = await bench.accounts.register(" Zoe\u0308 ", GOOD)
    second = await bench.accounts.login("ZO\u00cb", GOOD)

    assert first.user == second.user
    assert first.user.name == "Zo\u00eb"
    assert first.token != second.token
    assert first.expires_at_ms == NOW_MS + 30 * DAY_MS
    found = await bench.store.find_tokens([token_hash(first.token), token_hash(second.token)], at_ms=NOW_MS)
    assert [row.user for row in found.values()] == [first.user, first.user]
    assert (bench.counts.registrations, bench.counts.logins, bench.counts.logins_refused) == (1, 1, 0)


@virtual_time
async def test_an_unknown_name_is_answered_like_a_wrong_password_after_the_same_work() -> None:
    """Nobody, somebody without a password, and a wrong password: one answer, one check each."""
    bench = Bench()
    await bench.accounts.register("Ann", GOOD)
    await create_token(bench.store, "Bob", now_ms=NOW_MS, random_bytes=Random(2).randbytes)  # noqa: S311
    answers: list[tuple[ErrorCode, str, str | None]] = []
    checks: list[int] = []
    for name in ("Ann", "Bob", "Nobody"):
        before = bench.passwords.checks
        answers.append(await refusal(bench.accounts.login(name, WRONG)))
        checks.append(bench.passwords.checks - before)

    assert set(answers) == {(ErrorCode.UNAUTHENTICATED, "the name or the password is wrong", None)}
    assert checks == [1, 1, 1]
    assert bench.counts.logins_refused == 3


@virtual_time
async def test_a_name_is_registered_once() -> None:
    """Other capitals and compatibility forms are the same name; who has it is not disturbed."""
    bench = Bench()
    await bench.accounts.register("Ann", GOOD)
    for name in ("Ann", "aNN", "\uff21nn"):
        assert await refusal(bench.accounts.register(name, WRONG)) == (
            ErrorCode.CONFLICT,
            "somebody has that name",
            "name",
        )

    assert (await bench.accounts.login("ann", GOOD)).user.name == "Ann"


@virtual_time
async def test_a_name_that_somebody_takes_meanwhile_is_taken() -> None:
    """Two who register one name at once: the second is told, and gets no token."""
    store = MemoryStore()
    bench = Bench(store)
    racing = Bench(store, seed=2)
    hash_password = bench.passwords.hash

    async def meanwhile(password: str) -> str:
        await racing.accounts.register("ann", WRONG)
        return await hash_password(password)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.passwords, "hash", meanwhile)
        code, _, _ = await refusal(bench.accounts.register("Ann", GOOD))
    assert code is ErrorCode.CONFLICT
    assert (await bench.accounts.login("Ann", WRONG)).user.name == "ann"


@pytest.mark.parametrize(
    ("name", "password", "field"),
    [
        ("", GOOD, "name"),
        ("x" * 33, GOOD, "name"),
        ("a\u202eb", GOOD, "name"),
        ("Ann", "short", "password"),
        ("Ann", "x" * 1025, "password"),
    ],
)
@virtual_time
async def test_what_cannot_be_registered_costs_no_hash(name: str, password: str, field: str) -> None:
    """A bad name or password is refused with its field before there is work to do."""
    bench = Bench()
    code, _, at_fault = await refusal(bench.accounts.register(name, password))

    assert (code, at_fault) == (ErrorCode.BAD_REQUEST, field)
    assert await bench.store.find_account(name_key(name)) is None


@virtual_time
async def test_a_login_renews_a_hash_of_old_parameters() -> None:
    """Once: the next login finds the new hash."""
    store = MemoryStore()
    await Bench(store).accounts.register("Ann", GOOD)
    before = await store.find_account("ann")
    stronger = Bench(store, memory_bytes=20 * MIB, seed=2)
    await stronger.accounts.login("Ann", GOOD)
    renewed = await store.find_account("ann")
    await stronger.accounts.login("Ann", GOOD)

    assert before
    assert renewed
    assert before.password != renewed.password
    assert renewed.password is not None
    assert "m=20480" in renewed.password
    assert await store.find_account("ann") == renewed


@virtual_time
async def test_a_password_that_is_changed_during_a_login_gives_no_token() -> None:
    """Who changes a password and then revokes all tokens leaves none behind."""
    store = MemoryStore()
    bench = Bench(store)
    issued = await bench.accounts.register("Ann", GOOD)
    check = bench.passwords.check

    async def meanwhile(encoded: str | None, password: str) -> object:
        verdict = await check(encoded, password)
        await store.set_password(issued.user.user_id, "ann", "another hash")
        return verdict

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.passwords, "check", meanwhile)
        code, _, _ = await refusal(bench.accounts.login("Ann", GOOD))
    assert code is ErrorCode.UNAUTHENTICATED
    assert len(await store.list_tokens(issued.user.user_id, limit=9)) == 1


@virtual_time
async def test_a_logout_revokes_the_token_once() -> None:
    """Afterwards it is as unknown as one that never was."""
    bench = Bench()
    issued = await bench.accounts.register("Ann", GOOD)
    await bench.accounts.logout(issued.token)

    assert await bench.store.find_tokens([token_hash(issued.token)], at_ms=NOW_MS) == {}
    for token in (issued.token, "pt_" + "A" * 43, "", "pt_\ud800", "eyJ.x.y"):
        assert (await refusal(bench.accounts.logout(token)))[0] is ErrorCode.UNAUTHENTICATED
    assert (bench.counts.logouts, bench.revoked) == (1, 1)


@virtual_time
async def test_a_full_line_puts_off_the_renewal_and_not_the_login() -> None:
    """Where others wait already the old hash stays for now."""
    store = MemoryStore()
    await Bench(store).accounts.register("Ann", GOOD)
    before = await store.find_account("ann")
    bench = Bench(store, memory_bytes=20 * MIB, seed=2)

    async def full(_password: str) -> str:
        raise Refused(ErrorCode.OVERLOADED, "full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.passwords, "hash", full)
        assert (await bench.accounts.login("Ann", GOOD)).token
    assert await store.find_account("ann") == before


@virtual_time
async def test_what_the_store_raises_is_the_callers() -> None:
    """A database that is away ends a login as it is."""
    script: Callable[[str], Fault | None] = {"find_account": Fault(refusal=ZeroDivisionError())}.get
    bench = Bench(FaultyStore(MemoryStore(), script))

    with pytest.raises(ZeroDivisionError):
        await bench.accounts.login("Ann", GOOD)
