"""The simulation itself: a day in the life of three clients."""

import trio

from chat.codec import Codec
from tests.sim.harness import both, open_sim, virtual_time


@both
@virtual_time
async def test_what_one_says_everybody_in_the_room_hears(codec: Codec) -> None:
    """A message reaches the sender and the others, once each, and is stored before its `ok`."""
    async with open_sim() as sim:
        ann, bob = await sim.join("tea", "ann", "bob", codec=codec)
        stored = await ann.request("send", room="tea", cid="1", body="hello")
        heard = await bob.expect("event", body="hello")
        assert stored["seq"] == heard["seq"] == 1
        assert ann.bodies("tea") == ["hello"]
        page = await bob.request("history", room="tea")
        assert page["items"] == [heard]


@virtual_time
async def test_connections_live_on_through_minutes_of_silence() -> None:
    """Pings and pongs keep a connection on which nobody says anything."""
    async with open_sim() as sim:
        ann = await sim.connect("ann")
        await trio.sleep(600)
        await ann.request("ping")
        assert ann.pings > 10
