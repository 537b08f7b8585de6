"""Fragments through the whole server: they cost a client what other frames do."""

from typing import Final

import pytest

from chat.config import Config
from chat.errors import CloseCode
from tests.chat.transport.support import client_frame
from tests.sim.harness import Sim, SimClient, open_sim, virtual_time

BEGIN: Final = client_frame(b"\x80", fin=False)
MORE: Final = client_frame(opcode=0, fin=False)
WHEN: Final = pytest.mark.parametrize("greeted", [False, True], ids=["before hello", "after hello"])


async def _client(sim: Sim, *, greeted: bool) -> SimClient:
    return await sim.connect("mal") if greeted else await sim.open()


@WHEN
@virtual_time
async def test_a_flood_of_fragments_is_a_flood_of_frames(*, greeted: bool) -> None:
    """Also where no message gets so many that it is too large for that alone."""
    async with open_sim() as sim:
        mal = await _client(sim, greeted=greeted)
        await mal.write((BEGIN + MORE * 900 + client_frame(opcode=0)) * 20)

        assert await mal.wait_closed() == CloseCode.ABUSIVE_RATE


@WHEN
@virtual_time
async def test_a_message_in_endless_fragments_is_too_large(*, greeted: bool) -> None:
    """Without any limit on rates its memory is bounded all the same."""
    async with open_sim(Config(rate_limits=False)) as sim:
        mal = await _client(sim, greeted=greeted)
        await mal.write(BEGIN + MORE * 20_000)

        assert await mal.wait_closed() == CloseCode.TOO_LARGE


@virtual_time
async def test_a_request_in_fragments_counts_like_so_many_frames() -> None:
    """No more: who stays within the rate is answered."""
    async with open_sim() as sim:
        ann = await sim.connect("ann")
        payload = ann.codec.encode({"t": "ping", "id": 900})
        middle = [client_frame(bytes((byte,)), opcode=0, fin=False) for byte in payload[1:-1]]
        await ann.write(
            client_frame(payload[:1], fin=False) + b"".join(middle) + client_frame(payload[-1:], opcode=0)
        )

        await ann.expect("ok", id=900)
