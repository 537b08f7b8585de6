"""Who may come in, and what becomes of those who may not (protocol.md 1, 7, 8)."""

from typing import Final

import pytest
import trio

from chat.codec import Codec
from chat.config import Config
from storage import Unavailable
from storage.testing import Fault
from tests.e2e.scene import TEA, check_error, open_scene
from tests.sim.harness import (
    both,
    open_sim,
    virtual_time,
)


@both
@virtual_time
async def test_nothing_but_hello_and_ping_is_understood_before_the_welcome(codec: Codec) -> None:
    """A request without a `hello` is `unauthenticated`; a `hello` afterwards is welcome."""
    async with open_scene(codec) as scene:
        late = await scene.sim.open(codec)
        for t in ("join", "subscribe", "history", "room", "members"):
            check_error(await late.refused(t, room=TEA), "unauthenticated")
        check_error(await late.refused("send", room=TEA, cid="1", body="x"), "unauthenticated")
        check_error(await late.refused("rooms"), "unauthenticated")
        await late.request("ping")
        await late.hello("late")
        await late.request("join", room=TEA)


@both
@virtual_time
async def test_who_does_not_say_hello_is_told_and_closed_after_ten_seconds(codec: Codec) -> None:
    """4507, with a `bye`, between 10 and 12 seconds after the upgrade, however busy the client looks."""
    async with open_scene(codec) as scene:
        mute = await scene.sim.open(codec)
        begun_s = trio.current_time()
        while mute.closed_with is None:
            await mute.send("ping")
            await trio.sleep(1)
        assert await mute.wait_closed() == 4507
        assert 10 <= trio.current_time() - begun_s <= 12
        assert mute.heard("bye", code=4507)


@both
@virtual_time
async def test_who_said_hello_in_time_is_not_blamed_for_a_slow_database(codec: Codec) -> None:
    """A database that takes longer than a hello may is answered `unavailable` or `timeout`, not with 4507."""
    async with open_scene(codec) as scene:
        token = (await (await scene.sim.open(codec)).hello("late"))["token"]
        scene.sim.faults["memberships"] = Fault(before_s=12)
        slow = await scene.sim.open(codec)
        answer = await slow.refused("hello", token=token)
        assert answer["code"] in {"unavailable", "timeout"}
        assert answer["temporary"] is True
        scene.sim.faults.clear()
        await slow.request("hello", token=token)
        await slow.request("join", room=TEA)


@both
@virtual_time
async def test_a_new_guest_waits_for_no_database(codec: Codec) -> None:
    """There is nothing to be looked up of somebody who was never here: welcome, also while it is away."""
    async with open_scene(codec) as scene:
        scene.sim.faults["memberships"] = Fault(refusal=Unavailable("away"))
        new = await scene.sim.open(codec)
        welcome = await new.hello("new")
        assert welcome["rooms"] == []


BAD_HELLOS: Final[dict[str, tuple[dict[str, object], str]]] = {
    "neither token nor guest": ({}, "token"),
    "both": ({"token": "pt_x", "guest": "ann"}, "token"),
    "an empty name": ({"guest": "  "}, "guest"),
    "a name of 33": ({"guest": "x" * 33}, "guest"),
    "a name with a bidi override": ({"guest": "a\u202eb"}, "guest"),
    "a name with a line end": ({"guest": "a\nb"}, "guest"),
    "a name that is a number": ({"guest": 7}, "guest"),
    "an empty token": ({"token": ""}, "token"),
    "a token of 4097": ({"token": "x" * 4097}, "token"),
    "a status of one's own": ({"guest": "ann", "status": "busy"}, "status"),
}


@both
@pytest.mark.parametrize("name", BAD_HELLOS)
@virtual_time
async def test_a_hello_with_a_mistake_may_be_said_again(name: str, codec: Codec) -> None:
    """The field at fault is named, and the next `hello` is welcome."""
    fields, field = BAD_HELLOS[name]
    async with open_scene(codec) as scene:
        clumsy = await scene.sim.open(codec)
        check_error(await clumsy.refused("hello", **fields), "bad_request", field=field)
        await clumsy.hello("clumsy")


@both
@pytest.mark.parametrize(
    "token", ["wrong", "pt_" + "x" * 43, "pt_short", "a.b.c", "täää", "eyJhbGciOiJub25lIn0.e30."]
)
@virtual_time
async def test_a_wrong_token_is_unauthenticated_and_the_end(token: str, codec: Codec) -> None:
    """4500, after an error with the request's id: coming back with the same token is no use."""
    async with open_scene(codec) as scene:
        thief = await scene.sim.open(codec)
        check_error(await thief.refused("hello", token=token), "unauthenticated", field="token")
        assert await thief.wait_closed() == 4500
        assert thief.heard("bye", code=4500)


@both
@virtual_time
async def test_guests_are_turned_away_where_they_are_off(codec: Codec) -> None:
    """A guest's name is `unauthenticated` and closed with 4500 where only registered users may come."""
    async with open_sim(Config(guests="off")) as sim:
        guest = await sim.open(codec)
        check_error(await guest.refused("hello", guest="ann"), "unauthenticated", field="guest")
        assert await guest.wait_closed() == 4500


@both
@virtual_time
async def test_a_user_with_too_many_sessions_keeps_those_that_are_open(codec: Codec) -> None:
    """4505 for the eleventh session of a user; when one leaves there is room again."""
    async with open_scene(codec) as scene:
        first = await scene.sim.open(codec)
        token = (await first.hello("many"))["token"]
        others = [await scene.sim.open(codec) for _ in range(9)]
        for other in others:
            await other.request("hello", token=token)
        eleventh = await scene.sim.open(codec)
        check_error(await eleventh.refused("hello", token=token), "forbidden")
        assert await eleventh.wait_closed() == 4505
        for client in (first, *others):
            await client.request("ping")
        others[0].vanish()
        await trio.sleep(1)
        twelfth = await scene.sim.open(codec)
        await twelfth.request("hello", token=token)
