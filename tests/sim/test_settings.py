"""Settings that change what clients meet."""

from chat.codec import Codec
from chat.config import Config
from chat.pressure_state import Change
from tests.sim.harness import both, open_sim, virtual_time


@both
@virtual_time
async def test_a_body_may_be_as_long_as_the_setting_says(codec: Codec) -> None:
    """In bytes of UTF-8, as told in the welcome; one more is `too_large`."""
    async with open_sim(Config(body_max_bytes=10)) as sim:
        ann = await sim.open(codec)
        welcome = await ann.hello("ann")
        limits = welcome["limits"]
        assert isinstance(limits, dict)
        assert limits["body_bytes"] == 10
        await ann.request("join", room="tea", create=True)
        await ann.request("send", room="tea", cid="1", body="\u00e9" * 5)
        refused = await ann.refused("send", room="tea", cid="2", body="\u00e9" * 5 + "x")
        assert (refused["code"], refused["field"]) == ("too_large", "body")
        await ann.refused("send", room="tea", cid="3", body="x" * 11)
        await ann.request("send", room="tea", cid="4", body="x" * 10)


@both
@virtual_time
async def test_a_welcome_under_pressure_is_followed_by_the_level(codec: Codec) -> None:
    """Who comes while the server is pressed hears of it at once; while all is calm nobody does."""
    async with open_sim() as sim:
        calm = await sim.connect("calm", codec)
        sim.node.governor.apply(Change(2, "storage"))
        pressed = await sim.connect("pressed", codec)
        await pressed.expect("pressure", level=2, reason="storage")
        assert [envelope["t"] for envelope in pressed.received[:2]] == ["welcome", "pressure"]
        await calm.expect("pressure", level=2)
        assert len(calm.heard("pressure")) == len(pressed.heard("pressure")) == 1
