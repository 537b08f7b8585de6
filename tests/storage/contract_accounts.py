"""What every store promises about people: users, passwords, tokens, revocations and secrets."""

from typing import Final

import pytest
import trio

from storage import (
    Account,
    BadData,
    Conflict,
    IssuedUser,
    NewUser,
    Revocation,
    Store,
    Stranger,
    TokenInfo,
    TokenRow,
    UserRow,
)
from tests.storage.rows import AT_MS

ANN: Final = UserRow("u_1", "Ann", "user", AT_MS)


def new_user(
    user_id: str = "u_1", name: str = "Ann", role: str = "user", password: str | None = None
) -> NewUser:
    """A user to be created, whose name's key is the name in small letters."""
    return NewUser(user_id, name, name.lower(), role, password)


def stranger(user_id: str, name: str, spare: str = "") -> Stranger:
    """Somebody of an outside issuer."""
    spare = spare or f"{name} {user_id}"
    return Stranger(user_id, name, name.lower(), spare, spare.lower(), "user")


class UserContract:
    """Users, passwords and secrets."""

    async def test_a_user_is_created_once(self, store: Store) -> None:
        """A known name, whatever its capitals, gives the user who has it, whatever else is sent and when."""
        assert await store.create_user(new_user(), at_ms=AT_MS) == ANN
        assert await store.create_user(new_user("u_2", role="admin"), at_ms=AT_MS + 1) == ANN
        assert await store.create_user(new_user("u_3", "ANN"), at_ms=AT_MS + 2) == ANN

    async def test_a_user_id_is_taken_once(self, store: Store) -> None:
        """A new name under a known id is a conflict."""
        await store.create_user(new_user(), at_ms=AT_MS)

        with pytest.raises(Conflict):
            await store.create_user(new_user("u_1", "bob"), at_ms=AT_MS)

    async def test_one_of_many_who_take_a_name_at_once_gets_it(self, store: Store) -> None:
        """The others are told who has it."""
        got: list[UserRow] = []

        async def create(number: int) -> None:
            got.append(await store.create_user(new_user(f"u_{number}", "aNN"), at_ms=AT_MS))

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(create, number)
        assert len(set(got)) == 1

    async def test_a_user_is_found_by_name(self, store: Store) -> None:
        """Exactly or by the key; nobody for an unknown one."""
        await store.create_user(new_user(), at_ms=AT_MS)

        assert await store.find_user("Ann", "ann") == ANN
        assert await store.find_user("aNN", "ann") == ANN
        assert await store.find_user("bob", "bob") is None

    async def test_users_are_listed_by_the_beginning_of_their_names(self, store: Store) -> None:
        """By key, page by page; somebody unknown to continue after begins anew."""
        for number, name in enumerate(("Bob", "ann", "Anna", "ANNE", "an\U0010ffff")):
            await store.create_user(new_user(f"u_{number}", name), at_ms=AT_MS)

        everybody = await store.list_users("", after=None, limit=9)
        assert [row.name for row in everybody] == ["ann", "Anna", "ANNE", "an\U0010ffff", "Bob"]
        first = await store.list_users("ann", after=None, limit=2)
        assert [row.name for row in first] == ["ann", "Anna"]
        assert [row.name for row in await store.list_users("ann", after=first[-1].user_id, limit=2)] == [
            "ANNE"
        ]
        assert await store.list_users("c", after=None, limit=9) == []
        assert await store.list_users("", after="u_nobody", limit=9) == everybody

    async def test_staff_is_who_is_more_than_a_user(self, store: Store) -> None:
        """Admins first."""
        for number, role in enumerate(("moderator", "user", "admin")):
            await store.create_user(new_user(f"u_{number}", f"n{number}", role), at_ms=AT_MS)

        assert [row.role for row in await store.list_staff(limit=9)] == ["admin", "moderator"]
        assert [row.user_id for row in await store.list_staff(limit=1)] == ["u_2"]

    async def test_a_role_is_given_and_taken_back(self, store: Store) -> None:
        """Whoever is found afterwards has it; nobody has none to change."""
        await store.create_user(new_user(), at_ms=AT_MS)
        await store.create_token("u_1", b"t" * 32, at_ms=AT_MS, expires_at_ms=None)

        assert await store.set_role("u_1", "moderator")
        assert (await store.find_users(["u_1"]))["u_1"] == ANN._replace(role="moderator")
        found = await store.find_tokens([b"t" * 32], at_ms=AT_MS)
        assert [row.user.role for row in found.values()] == ["moderator"]
        assert [row.user_id for row in await store.list_staff(limit=9)] == ["u_1"]
        assert await store.set_role("u_1", "user")
        assert await store.list_staff(limit=9) == []
        assert not await store.set_role("u_none", "admin")

    async def test_one_admin_stays(self, store: Store) -> None:
        """Of many who step down at once all but one do."""
        for number in range(4):
            await store.create_user(new_user(f"u_{number}", f"n{number}", "admin"), at_ms=AT_MS)
        refused: list[str] = []

        async def step_down(user_id: str) -> None:
            try:
                assert await store.set_role(user_id, "user")
            except Conflict:
                refused.append(user_id)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(step_down, f"u_{number}")
        assert [row.user_id for row in await store.list_staff(limit=9)] == refused
        assert await store.set_role(refused[0], "admin")

    async def test_an_account_tells_its_password(self, store: Store) -> None:
        """By the key of the name alone; a user without one has none."""
        await store.create_user(new_user(password="hash"), at_ms=AT_MS)
        await store.create_user(new_user("u_2", "bob"), at_ms=AT_MS)

        assert await store.find_account("ann") == Account(ANN, "hash")
        assert await store.find_account("bob") == Account(UserRow("u_2", "bob", "user", AT_MS), None)
        assert await store.find_account("Ann") is None
        found = await store.find_users(["u_2", "u_1", "u_9"])
        assert found == {"u_1": ANN, "u_2": UserRow("u_2", "bob", "user", AT_MS)}

    async def test_a_password_is_replaced_only_when_it_is_the_one_that_was_meant(self, store: Store) -> None:
        """Whoever read an older one changes nothing; nobody has no password to change."""
        await store.create_user(new_user(password="one"), at_ms=AT_MS)

        assert await store.set_password("u_1", "ann", "two", replaces="one")
        assert not await store.set_password("u_1", "ann", "three", replaces="one")
        assert await store.find_account("ann") == Account(ANN, "two")
        assert await store.set_password("u_1", "ann", "four")
        assert await store.find_account("ann") == Account(ANN, "four")
        assert not await store.set_password("u_none", "none", "x")

    async def test_a_names_key_may_change_unless_somebody_has_it(self, store: Store) -> None:
        """The user is found by the new key from then on; a key that is taken is a conflict."""
        await store.create_user(new_user(), at_ms=AT_MS)
        await store.create_user(new_user("u_2", "bob"), at_ms=AT_MS)

        assert await store.set_password("u_1", "anna", "hash")
        assert await store.find_account("anna") == Account(ANN, "hash")
        assert await store.find_account("ann") is None
        with pytest.raises(Conflict):
            await store.set_password("u_1", "bob", "hash")

    async def test_strangers_are_created_at_first_sight(self, store: Store) -> None:
        """All in one call, known ones as they are; whose name is taken gets the spare one, or is missing."""
        await store.create_user(new_user(), at_ms=AT_MS)
        first = await store.admit_users([stranger("u_2", "bob")], at_ms=AT_MS)
        found = await store.admit_users(
            [
                stranger("u_2", "robert"),
                stranger("u_3", "ANN", "Ann 3"),
                stranger("u_4", "cid"),
                stranger("u_5", "Cid", "cid 5"),
                stranger("u_6", "ann", "BOB"),
            ],
            at_ms=AT_MS + 7,
        )

        assert first == {"u_2": IssuedUser(UserRow("u_2", "bob", "user", AT_MS), None)}
        assert found == {
            "u_2": first["u_2"],
            "u_3": IssuedUser(UserRow("u_3", "Ann 3", "user", AT_MS + 7), None),
            "u_4": IssuedUser(UserRow("u_4", "cid", "user", AT_MS + 7), None),
            "u_5": IssuedUser(UserRow("u_5", "cid 5", "user", AT_MS + 7), None),
        }
        assert await store.find_account("cid") == Account(UserRow("u_4", "cid", "user", AT_MS + 7), None)

    async def test_the_first_secret_stays(self, store: Store) -> None:
        """Whoever asks later gets the first one."""
        assert await store.secret("guests", b"first") == b"first"
        assert await store.secret("guests", b"second") == b"first"
        assert await store.secret("others", b"third") == b"third"

    async def test_ping_returns(self, store: Store) -> None:
        """A store that works answers."""
        await store.ping()


class TokenContract:
    """Tokens and their revocation."""

    async def test_a_token_speaks_for_its_user_until_it_expires(self, store: Store) -> None:
        """Known and valid tokens are found, all in one call."""
        await store.create_user(new_user(), at_ms=AT_MS)
        await store.create_token("u_1", b"a" * 32, at_ms=AT_MS, expires_at_ms=None)
        await store.create_token("u_1", b"b" * 32, at_ms=AT_MS, expires_at_ms=AT_MS + 10)

        hashes = [b"a" * 32, b"b" * 32, b"c" * 32]
        assert await store.find_tokens(hashes, at_ms=AT_MS + 9) == {
            b"a" * 32: TokenRow(ANN, None),
            b"b" * 32: TokenRow(ANN, AT_MS + 10),
        }
        assert list(await store.find_tokens(hashes, at_ms=AT_MS + 10)) == [b"a" * 32]

    async def test_a_token_needs_a_user_and_is_unique(self, store: Store) -> None:
        """A token for nobody is bad data, and a known hash is a conflict."""
        with pytest.raises(BadData):
            await store.create_token("u_none", b"a" * 32, at_ms=AT_MS, expires_at_ms=None)
        await store.create_user(new_user(), at_ms=AT_MS)
        await store.create_token("u_1", b"a" * 32, at_ms=AT_MS, expires_at_ms=None)
        with pytest.raises(Conflict):
            await store.create_token("u_1", b"a" * 32, at_ms=AT_MS, expires_at_ms=None)

    async def test_a_token_may_hang_on_the_password(self, store: Store) -> None:
        """It is made only if the password is still the one that was checked."""
        await store.create_user(new_user(password="one"), at_ms=AT_MS)
        await store.create_token("u_1", b"a" * 32, at_ms=AT_MS, expires_at_ms=None, if_password="one")
        await store.set_password("u_1", "ann", "two")

        with pytest.raises(Conflict):
            await store.create_token("u_1", b"b" * 32, at_ms=AT_MS, expires_at_ms=None, if_password="one")
        assert [token.token_hash for token in await store.list_tokens("u_1", limit=9)] == [b"a" * 32]

    async def test_tokens_that_are_over_are_forgotten_with_the_next_one(self, store: Store) -> None:
        """A user's expired and revoked tokens do not pile up; a list shows the newest first."""
        await store.create_user(new_user(), at_ms=AT_MS)
        await store.create_token("u_1", b"a" * 32, at_ms=AT_MS, expires_at_ms=AT_MS + 10)
        await store.create_token("u_1", b"b" * 32, at_ms=AT_MS + 1, expires_at_ms=AT_MS + 99)
        await store.create_token("u_1", b"c" * 32, at_ms=AT_MS + 2, expires_at_ms=None)
        await store.revoke_tokens(b"b" * 32, at_ms=AT_MS + 3)

        assert await store.list_tokens("u_1", limit=9) == [
            TokenInfo(b"c" * 32, AT_MS + 2, None, None),
            TokenInfo(b"b" * 32, AT_MS + 1, AT_MS + 99, AT_MS + 3),
            TokenInfo(b"a" * 32, AT_MS, AT_MS + 10, None),
        ]
        await store.create_token("u_1", b"d" * 32, at_ms=AT_MS + 10, expires_at_ms=None)
        listed = await store.list_tokens("u_1", limit=9)
        assert [token.token_hash for token in listed] == [b"d" * 32, b"c" * 32]
        assert await store.list_tokens("u_1", limit=1) == listed[:1]
        assert await store.list_tokens("u_none", limit=9) == []

    async def test_a_revoked_token_is_unknown_and_told_once(self, store: Store) -> None:
        """By its hash or the hash's beginning; what is not valid any more is not revoked again."""
        await store.create_user(new_user(), at_ms=AT_MS)
        for hashed in (b"a" * 32, b"ab" * 16, b"\xff" * 32):
            await store.create_token("u_1", hashed, at_ms=AT_MS, expires_at_ms=AT_MS + 10)
        assert await store.last_revocation() == 0

        assert await store.revoke_tokens(b"ab", at_ms=AT_MS) == 1
        assert await store.revoke_tokens(b"ab", at_ms=AT_MS) == 0
        assert await store.revoke_tokens(b"\xff" * 32, at_ms=AT_MS + 10) == 0
        assert await store.revoke_tokens(b"\xff" * 8, at_ms=AT_MS + 9) == 1
        assert list(await store.find_tokens([b"a" * 32, b"ab" * 16, b"\xff" * 32], at_ms=AT_MS)) == [
            b"a" * 32
        ]
        told = await store.revocations(after=0, limit=9)
        assert [(row.token_hash, row.user_id) for row in told] == [(b"ab" * 16, "u_1"), (b"\xff" * 32, "u_1")]
        assert told[-1].number == await store.last_revocation()

    async def test_all_of_a_users_tokens_are_revoked_together(self, store: Store) -> None:
        """Those of others stay, and what an outside issuer made until then is marked."""
        await store.create_user(new_user(), at_ms=AT_MS)
        await store.admit_users([stranger("u_2", "bob")], at_ms=AT_MS)
        for user_id, hashed in (("u_1", b"a" * 32), ("u_2", b"b" * 32), ("u_2", b"c" * 32)):
            await store.create_token(user_id, hashed, at_ms=AT_MS, expires_at_ms=None)

        assert await store.revoke_user("u_2", at_ms=AT_MS + 5) == 2
        assert list(await store.find_tokens([b"a" * 32, b"b" * 32, b"c" * 32], at_ms=AT_MS)) == [b"a" * 32]
        number = await store.last_revocation()
        told = await store.revocations(after=0, limit=9)
        assert {row.token_hash for row in told} == {b"b" * 32, b"c" * 32, None}
        assert [row.user_id for row in told] == ["u_2"] * 3
        assert await store.admit_users([stranger("u_2", "bob")], at_ms=AT_MS) == {
            "u_2": IssuedUser(UserRow("u_2", "bob", "user", AT_MS), AT_MS + 5)
        }
        assert await store.revoke_user("u_2", at_ms=AT_MS + 6) == 0
        (later,) = await store.revocations(after=number, limit=9)
        assert later == Revocation(await store.last_revocation(), None, "u_2")

    async def test_revocations_come_in_pages(self, store: Store) -> None:
        """Each page goes on where the last one ended."""
        await store.create_user(new_user(), at_ms=AT_MS)
        for _ in range(5):
            await store.revoke_user("u_1", at_ms=AT_MS)

        numbers: list[int] = []
        while page := await store.revocations(after=numbers[-1] if numbers else 0, limit=2):
            numbers += [row.number for row in page]
        assert len(numbers) == 5
        assert numbers == sorted(set(numbers))


class AccountContract(UserContract, TokenContract):
    """All of it."""
