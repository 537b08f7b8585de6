"""Passwords: what is allowed, how they are hashed, and that few are hashed at a time."""

from random import Random
from typing import Literal

import argon2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chat.errors import ErrorCode, Refused
from chat.passwords import InThread, Passwords, Verdict, in_worker_thread, new_password, normal_password
from tests.sim.harness import at_once, virtual_time

MIB = 1024 * 1024
GOOD = "correct horse"


def make_passwords(
    *, memory_bytes: int = 19 * MIB, threads: int = 1, waiting_max: int = 8, in_thread: InThread = at_once
) -> Passwords:
    """Passwords on this thread, with the same salts in every run."""
    return Passwords(
        memory_bytes=memory_bytes,
        threads=threads,
        waiting_max=waiting_max,
        random_bytes=Random(1).randbytes,  # noqa: S311  a test's chance
        in_thread=in_thread,
    )


@pytest.mark.parametrize("password", ["0123456789", "ten spaces", "\u00e9" * 10, "x" * 1024])
def test_ten_characters_and_nothing_else_is_asked_of_a_password(password: str) -> None:
    """No capitals, no digits, no signs: length is what counts."""
    assert new_password(password) == password


@pytest.mark.parametrize(
    "password", ["", "012345678", "e\u0301" * 9, "x" * 1025, "\u00e9" * 513, "\ud800" * 10]
)
def test_a_password_that_is_not_allowed_is_refused(password: str) -> None:
    """Too short (as composed), too long, or no text."""
    with pytest.raises(Refused) as refused:
        new_password(password)

    assert (refused.value.code, refused.value.field) == (ErrorCode.BAD_REQUEST, "password")


def test_a_password_is_the_same_from_every_keyboard() -> None:
    """A letter with its accent is one, however it was typed."""
    assert normal_password("Zoe\u0308") == normal_password("Zo\u00eb")


async def test_a_hash_is_argon2id_and_checks_in_a_thread() -> None:
    """What is stored is what OWASP recommends; the right password fits, another does not."""
    passwords = make_passwords(in_thread=in_worker_thread)
    encoded = await passwords.hash(GOOD)

    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.check(encoded, GOOD) == Verdict(correct=True, outdated=False)
    assert await passwords.check(encoded, "wrong horse") == Verdict(correct=False, outdated=False)
    assert await passwords.hash(GOOD) != encoded


@virtual_time
async def test_nobodys_password_is_checked_like_anybodys() -> None:
    """Where there is no hash the same work is done with the same parameters, and nothing is right."""
    passwords = make_passwords()
    encoded = await passwords.hash(GOOD)
    worked: list[str] = []

    class Spy(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002  its name
            worked.append(str(hash))
            return super().verify(hash, password)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", Spy(2, 19456, 1))
        assert not (await passwords.check(encoded, "wrong horse")).correct
        assert not (await passwords.check(None, "wrong horse")).correct
    known, nobodys = (argon2.extract_parameters(hashed) for hashed in worked)
    assert known == nobodys
    assert passwords.checks == 2


@virtual_time
async def test_a_hash_of_other_parameters_is_outdated() -> None:
    """When the memory is raised the old hash still fits, and asks to be made anew."""
    encoded = await make_passwords().hash(GOOD)

    verdict = await make_passwords(memory_bytes=20 * MIB).check(encoded, GOOD)
    assert verdict == Verdict(correct=True, outdated=True)


@pytest.mark.parametrize("encoded", ["", "plain", "$argon2id$v=19$m=1,t=1,p=1$YQ$YQ", "$2b$12$abc"])
@virtual_time
async def test_a_hash_that_is_none_fits_nothing(encoded: str) -> None:
    """A row that somebody broke lets nobody in, and ends nothing."""
    assert not (await make_passwords().check(encoded, GOOD)).correct


@virtual_time
async def test_few_are_hashed_at_a_time_and_few_wait() -> None:
    """Above the waiting line one is told to come again; when it has passed there is room again."""
    passwords = make_passwords(threads=1, waiting_max=2)
    refusals: list[Refused] = []
    done: list[str] = []

    async def ask() -> None:
        try:
            done.append(await passwords.hash(GOOD))
        except Refused as refused:
            refusals.append(refused)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert len(refusals) == 2
    assert len(done) == 3
    assert {(refused.code, refused.retry_after_s) for refused in refusals} == {(ErrorCode.OVERLOADED, 1.0)}
    assert await passwords.hash(GOOD)


@virtual_time
async def test_who_gives_up_leaves_the_line() -> None:
    """A place that is not waited for any more is free."""
    passwords = make_passwords(threads=1, waiting_max=0)
    for _ in range(3):
        with trio.move_on_after(0.01):
            await passwords.hash(GOOD)

    assert await passwords.hash(GOOD)
