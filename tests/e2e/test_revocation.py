"""Revoking beside a running server: its sessions end within a second, with a real database in between."""

from pathlib import Path
from random import Random

import pytest
import trio

from chat.client import open_client
from chat.client_errors import ConnectionEnded, RequestRefused
from chat.client_feed import Ended, Update
from chat.login import log_in
from tests.e2e.server_process import open_server, parley
from tests.faults.load import OPTIONS

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

PATIENCE_S = 30.0
"""For what takes half a second, on a machine with other things to do."""


async def test_a_token_that_an_operator_revokes_ends_its_session(tmp_path: Path) -> None:
    """The server hears of it by looking; another user's session goes on, and the token opens nothing more."""
    async with open_server(tmp_path) as server:
        tokens = [
            (await parley("token", "create", name, "--data-dir", str(server.data_dir))).stdout.strip()
            for name in ("Ann", "Bob")
        ]
        ended = trio.Event()
        ends: list[Ended] = []

        def on_update(update: Update) -> None:
            if isinstance(update, Ended):
                ends.append(update)
                ended.set()

        async with (
            open_client(
                server.url,
                token=tokens[0],
                rng=Random(1),  # noqa: S311
                options=OPTIONS,
                on_update=on_update,
            ),
            open_client(server.url, token=tokens[1], rng=Random(2), options=OPTIONS) as bob,  # noqa: S311
        ):
            revoked = await parley("token", "revoke", tokens[0], "--data-dir", str(server.data_dir))
            assert (revoked.returncode, revoked.stdout) == (0, "revoked: 1 token\n")
            with trio.fail_after(PATIENCE_S):
                await ended.wait()
            await bob.request("ping")
        (end,) = ends
        assert isinstance(end.error, ConnectionEnded)
        assert end.error.code == 4500
        with pytest.raises(RequestRefused) as refused:
            async with open_client(server.url, token=tokens[0], rng=Random(3), options=OPTIONS):  # noqa: S311
                pass
        assert refused.value.code == "unauthenticated"


async def test_an_account_made_beside_the_server_logs_in_and_talks(tmp_path: Path) -> None:
    """`user create`, then `connect --login` from a pipe, where the password comes first; then by a client.

    A new password ends what the old one opened, and the old one opens nothing more.
    """
    async with open_server(tmp_path) as server:
        place = ("--data-dir", str(server.data_dir))
        made = await parley("user", "create", "Ada", *place, typed="correct horse\n")
        said = await parley("connect", "--login", "ada", "--url", server.url, typed="correct horse\nhello\n")
        assert (said.returncode, said.stderr) == (0, "")
        issued = await log_in(server.url, "Ada", "correct horse")
        async with open_client(server.url, token=issued.token, rng=Random(1), options=OPTIONS) as client:  # noqa: S311
            await client.join("lobby")
            page = await client.history("lobby")
        changed = await parley("user", "password", "Ada", *place, typed="another horse\n")
        with pytest.raises(RequestRefused) as refused:
            await log_in(server.url, "Ada", "correct horse")
        await log_in(server.url, "Ada", "another horse")

        assert (made.returncode, said.returncode, changed.returncode) == (0, 0, 0)
        assert changed.stdout.startswith("revoked: 2 tokens of Ada (")
        assert refused.value.code == "unauthenticated"
        items = page["items"]
        assert isinstance(items, list)
        assert [(item["name"], item["body"]) for item in items] == [("Ada", "hello")]
