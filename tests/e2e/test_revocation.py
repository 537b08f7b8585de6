"""Revoking beside a running server: its sessions end within a second, with a real database in between."""

from pathlib import Path
from random import Random

import pytest
import trio

from chat.client import open_client
from chat.client_errors import ConnectionEnded, RequestRefused
from chat.client_feed import Ended, Update
from chat.tokens import token_hash
from storage import PostgresStore
from tests.e2e.server_process import open_server, parley
from tests.faults.load import OPTIONS

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

PATIENCE_S = 30.0
"""For what takes half a second, on a machine with other things to do."""


async def test_a_token_revoked_in_the_database_ends_its_session(tmp_path: Path) -> None:
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
            server.database() as database,
        ):
            assert await PostgresStore(database).revoke_tokens(token_hash(tokens[0]), at_ms=1) == 1
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
