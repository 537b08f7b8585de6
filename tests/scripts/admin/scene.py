"""A server in memory on loopback, the people on it, and a shell to run `parley admin` in.

async with open_scene(shell) as scene:
    assert await scene.run("users", "list", "--json") == 0
    scene.told["items"]
"""

import gc
import io
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import Final, cast

import pytest
import structlog
import trio

from chat.client import Client, open_client
from chat.config import Config
from chat.server import Addresses, serve_store
from chat.tokens import create_token
from scripts.admin.cli import main
from storage import MemoryStore

START_S: Final = 30.0
CONFIG: Final = Config(port=0, ops_port=0, rate_limits=False)
PEOPLE: Final = {"Ada": "admin", "Mo": "moderator", "Bob": "user", "Zoe": "user"}


class Scene:
    """A running server, and one terminal.

    Attributes:
        at: where it answers.
        store: what it stores in.
        tokens: of the people, by name.
        ids: theirs.
        out: what the last command printed.
        err: what it told besides.
    """

    def __init__(
        self,
        at: Addresses,
        store: MemoryStore,
        ended: trio.Event,
        capsys: pytest.CaptureFixture[str],
        patch: pytest.MonkeyPatch,
    ) -> None:
        self.at = at
        self.store = store
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.out = self.err = ""
        self._clients = 0
        self._ended = ended
        self._capsys = capsys
        self._patch = patch

    @property
    def metrics_url(self) -> str:
        """Where its metrics are."""
        return f"http://127.0.0.1:{self.at.ops_port}/metrics"

    @property
    def told(self) -> dict[str, object]:
        """The one JSON value that the last command printed."""
        return cast("dict[str, object]", json.loads(self.out))

    @property
    def error(self) -> object:
        """The code of the error that it printed."""
        return cast("dict[str, object]", self.told["error"])["code"]

    @property
    def items(self) -> list[dict[str, object]]:
        """What it listed."""
        return cast("list[dict[str, object]]", self.told["items"])

    async def wait_ended(self) -> None:
        """Wait until the server has ended by itself."""
        with trio.fail_after(START_S):
            await self._ended.wait()

    async def register(self, name: str, role: str, *, expires_at_ms: int | None = None) -> None:
        """Make a user with a token."""
        issued = await create_token(
            self.store, name, role, now_ms=0, random_bytes=os.urandom, expires_at_ms=expires_at_ms
        )
        self.tokens[name], self.ids[name] = issued.token, issued.user.user_id

    async def run(self, *argv: str, by: str = "Ada", typed: str = "") -> int:
        """One command, as this person; the exit code."""
        self._patch.setenv("PARLEY_URL", self.at.url)
        self._patch.setenv("PARLEY_TOKEN", self.tokens[by])
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        self._capsys.readouterr()
        code = await trio.to_thread.run_sync(main, argv)
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    @asynccontextmanager
    async def client(self, name: str) -> AsyncGenerator[Client]:
        """A client of this person."""
        # Each its own: two of one seed would choose the same ids for their messages.
        self._clients += 1
        chance = Random(self._clients)  # noqa: S311  a test's
        async with open_client(
            self.at.url, token=self.tokens[name], rng=chance, on_update=lambda _: None
        ) as client:
            yield client


@asynccontextmanager
async def open_scene(capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> AsyncGenerator[Scene]:
    """Serve, with `PEOPLE` registered and a room `tea` of Zoe's that Bob is in: a message, then a topic."""
    store = MemoryStore()
    stop, ended = trio.Event(), trio.Event()
    # Collecting all that the tests before have left would make this server late, which then lets nobody in.
    gc.freeze()
    # What the server logs is no command's output.
    with structlog.testing.capture_logs():
        async with trio.open_nursery() as nursery:

            async def run(*, task_status: trio.TaskStatus[Addresses]) -> None:
                await serve_store(CONFIG, store, "memory", stop=stop, task_status=task_status)
                ended.set()

            with trio.fail_after(START_S):
                at = await nursery.start(run)
                scene = Scene(at, store, ended, capsys, patch)
                for name, role in PEOPLE.items():
                    await scene.register(name, role)
                async with scene.client("Zoe") as zoe, scene.client("Bob") as bob:
                    await zoe.join("tea", create=True)
                    await bob.join("tea")
                    await zoe.send("tea", "hello")
                    await zoe.request("update", room="tea", topic="green")
            yield scene
            stop.set()
