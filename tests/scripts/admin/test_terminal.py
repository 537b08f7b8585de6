"""`top`, `tail` and a question, at a real pseudo-terminal."""

import re
from collections.abc import AsyncGenerator

import pytest

from scripts.admin.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from tests.scripts.admin.scene import Scene, open_scene
from tests.scripts.admin.screen import open_screen

pytestmark = [pytest.mark.usefixtures("process_as_before"), pytest.mark.slow]

CTRL_C = "\x03"
ALTERNATE_ON, ALTERNATE_OFF = "\x1b[?1049h", "\x1b[?1049l"
CURSOR_ON = "\x1b[?25h"


@pytest.fixture
async def scene(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Scene]:
    """A server with people and a room."""
    async with open_scene(capsys, monkeypatch) as opened:
        yield opened


async def test_top_draws_a_screen_and_gives_the_terminal_back(scene: Scene) -> None:
    """Once a look, on a screen of its own; Ctrl-C ends it as a script expects."""
    environ = {"PARLEY_URL": scene.at.url, "PARLEY_TOKEN": scene.tokens["Mo"]}
    argv = ("top", "--metrics", scene.metrics_url, "--every", "0.1s")
    async with open_screen(*argv, **environ) as screen:
        first = await screen.wait_for(r"tea +0 +0 +0\.0 ms")
        for words in ("rooms active", "deliveries/s", "commit lag", "mailbox wait p99"):
            assert words in first
        async with scene.client("Zoe") as zoe:
            await zoe.join("tea")
            await zoe.send("tea", "more")
            await screen.wait_for(r"connections +2 (?s:.*)tea +1 +0 +0\.0 ms")
        screen.type(CTRL_C)
        assert await screen.wait_ended() == EXIT_INTERRUPTED
    assert ALTERNATE_ON in screen.drawn
    assert screen.drawn.rindex(ALTERNATE_OFF) > screen.drawn.rindex(ALTERNATE_ON)
    assert CURSOR_ON in screen.drawn
    assert "Traceback" not in screen.drawn


async def test_tail_follows_a_room(scene: Scene) -> None:
    """What was said before, and what is said while it runs; nothing of it moves the cursor."""
    environ = {"PARLEY_URL": scene.at.url, "PARLEY_TOKEN": scene.tokens["Mo"]}
    async with open_screen("tail", "tea", **environ) as screen:
        before = await screen.wait_for(r"#2 -- room: topic green")
        assert "#1 Zoe: hello" in before
        async with scene.client("Zoe") as zoe:
            await zoe.join("tea")
            await zoe.send("tea", "\x1b[2Jmore")
        said = await screen.wait_for(r"#3 Zoe: .*more")
        assert "␛[2Jmore" in said
        screen.type(CTRL_C)
        assert await screen.wait_ended() == EXIT_INTERRUPTED
    assert "\x1b[2J" not in screen.drawn


async def test_tail_follows_the_audit(scene: Scene) -> None:
    """Each act once, with who did it and why; it ends by itself after so many."""
    environ = {"PARLEY_URL": scene.at.url, "PARLEY_TOKEN": scene.tokens["Mo"]}
    async with open_screen("tail", "--audit", "--count", "3", **environ) as screen:
        await screen.wait_for(r"tea:2 Zoe update tea")
        async with scene.client("Zoe") as zoe:
            for action in ("mute", "unmute"):
                await zoe.request("mod", room="tea", action=action, target=scene.ids["Bob"], reason="loud")
        await screen.wait_for(rf"tea:3 Zoe mute {scene.ids['Bob']}: loud\s+\S+ \S+ tea:4 Zoe unmute")
        assert await screen.wait_ended() == EXIT_OK
    assert len(re.findall(r"tea:\d", screen.drawn)) == 3


@pytest.mark.parametrize(("answer", "code", "count"), [("n\n", EXIT_FAILED, 1), ("y\n", EXIT_OK, 2)])
async def test_what_destroys_is_asked_about(scene: Scene, answer: str, code: int, count: int) -> None:
    """Nothing is done without a yes."""
    environ = {"PARLEY_URL": scene.at.url, "PARLEY_TOKEN": scene.tokens["Mo"]}
    argv = ("ban", "Bob", "--room", "tea", "--reason", "spam")
    async with open_screen(*argv, **environ) as screen:
        await screen.wait_for(rf"Ban Bob \({scene.ids['Bob']}\) in tea\? \[y/N\]")
        screen.type(answer)
        assert await screen.wait_ended() == code
    assert await scene.run("audit", "list", "--json") == EXIT_OK
    assert len(scene.items) == count


async def test_ctrl_c_at_a_question_does_nothing(scene: Scene) -> None:
    """And leaves at once."""
    environ = {"PARLEY_URL": scene.at.url, "PARLEY_TOKEN": scene.tokens["Mo"]}
    async with open_screen("users", "disconnect", "Bob", **environ) as screen:
        await screen.wait_for(r"\[y/N\]")
        screen.type(CTRL_C)
        assert await screen.wait_ended() == EXIT_INTERRUPTED
    assert "Traceback" not in screen.drawn
