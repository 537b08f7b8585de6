"""What clients are told while the database is away or slow."""

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
    virtual_time,
)

AWAY: Final = Fault(refusal=Unavailable("gone"))
READS: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "history": ("history", {"room": TEA, "fold": True}),
    "search": ("search", {"query": "tea"}),
    "rooms": ("list_rooms", {}),
    "members": ("list_members", {"room": TEA}),
    "create": ("create_room", {"room": "new"}),
    "join": ("find_room", {"room": "new", "create": True}),
    "send": ("find_cids", {"room": TEA, "cid": "1", "body": "x", "retry": True}),
}


@both
@pytest.mark.parametrize("t", READS)
@virtual_time
async def test_a_request_that_needs_the_database_is_unavailable_without_it(t: str, codec: Codec) -> None:
    """`unavailable`, with a time to wait, and the same request works when the database is back."""
    call, fields = READS[t]
    async with open_scene(codec) as scene:
        scene.sim.faults[call] = AWAY
        check_error(await scene.culprit.refused(t, **fields), "unavailable", retries=True)
        scene.sim.faults.clear()
        await scene.culprit.request(t, **fields)


@both
@pytest.mark.parametrize("t", READS)
@virtual_time
async def test_a_database_that_does_not_answer_is_a_timeout(t: str, codec: Codec) -> None:
    """After 10 seconds the request is answered `timeout`; messages were served meanwhile."""
    call, fields = READS[t]
    async with open_scene(codec) as scene:
        scene.sim.faults[call] = Fault(before_s=1000)
        begun_s = trio.current_time()
        request_id = await scene.culprit.send(t, **fields)
        await scene.check_served()
        check_error(await scene.culprit.answer(request_id), "timeout", retries=True)
        assert trio.current_time() - begun_s == pytest.approx(10, abs=1)
        scene.sim.faults.clear()
        await scene.culprit.request(t, **fields)


@both
@virtual_time
async def test_a_hello_without_a_database_may_be_said_again(codec: Codec) -> None:
    """`unavailable` while it is away, however long; welcome on the same connection when it is back."""
    async with open_scene(codec) as scene:
        token = (await (await scene.sim.open(codec)).hello("early"))["token"]
        scene.sim.faults["memberships"] = AWAY
        early = await scene.sim.open(codec)
        for _ in range(8):
            check_error(await early.refused("hello", token=token), "unavailable", retries=True)
            await trio.sleep(2)
        scene.sim.faults.clear()
        await early.request("hello", token=token)


@both
@virtual_time
async def test_messages_wait_for_the_database_and_are_refused_only_when_the_backlog_is_full(
    codec: Codec,
) -> None:
    """While it is away `ok`s wait; above the backlog it is `unavailable`; later all that waited is stored."""
    config = Config(writer_backlog_rows=10, writer_batch_rows=5, writers=1, rate_limits=False)
    async with open_scene(codec, config) as scene:
        mal = scene.culprit
        scene.sim.faults["append"] = AWAY
        ids = [await mal.send("send", room=TEA, cid=f"{n}", body=f"{n}") for n in range(10)]
        await scene.neighbour.expect("event", body="9")
        check_error(await mal.refused("send", room=TEA, cid="more", body="more"), "unavailable", retries=True)
        assert not set(ids) & set(mal.answers())
        scene.sim.faults.clear()
        assert [(await mal.answer(request_id))["t"] for request_id in ids] == ["ok"] * 10
