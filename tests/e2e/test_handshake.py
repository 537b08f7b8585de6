"""HTTP and the handshake: every request that is no proper one gets its status (protocol.md 1, 9)."""

from random import Random
from typing import Final

import pytest
import trio
import trio.testing

from chat.client import open_client
from chat.codec import JSON
from chat.config import Config
from tests.e2e.scene import open_scene
from tests.sim.harness import (
    SimClient,
    open_sim,
    read_answer,
    upgrade_request,
    virtual_time,
)

ASKED_FOR: Final = frozenset({"chat.test", "CHAT.test:443", "[fd00::7]:1", "localhost", "evil.test"})
HANDSHAKES: Final[dict[str, tuple[bytes, int]]] = {
    "unknown subprotocols only": (upgrade_request(sec_websocket_protocol="soap, parley.v9.json"), 400),
    "an empty subprotocol": (upgrade_request(sec_websocket_protocol=""), 400),
    "another site's origin": (upgrade_request(origin="https://evil.test"), 403),
    "an origin of another port": (upgrade_request(origin="http://localhost:81"), 403),
    "no origin worth the name": (upgrade_request(origin="null"), 403),
    "an origin that is no address": (upgrade_request(origin="http://["), 403),
    "an origin with our name in front": (upgrade_request(origin="http://localhost:8000.evil.test"), 403),
    "an origin that is no web page": (upgrade_request(origin="chrome-extension://localhost:8000"), 403),
    "a name that leads here": (upgrade_request(host="evil.test:8000", origin="http://evil.test:8000"), 421),
    "a name that begins like ours": (upgrade_request(host="localhost.evil.test"), 421),
    "an address that begins like ours": (upgrade_request(host="127.0.0.1.evil.test"), 421),
    "another address of ours": (upgrade_request(host="192.0.2.7"), 421),
    "a host that is none": (upgrade_request(host="[::1"), 421),
    "an empty host": (upgrade_request(host=""), 421),
    "a body": (upgrade_request(content_length="5"), 400),
    "a body of unknown length": (upgrade_request(transfer_encoding="chunked"), 400),
    "no upgrade": (upgrade_request(upgrade=None), 426),
    "no key": (upgrade_request(sec_websocket_key=None), 400),
    "no version": (upgrade_request(sec_websocket_version=None), 400),
    "another version": (upgrade_request(sec_websocket_version="8"), 426),
    "no host": (upgrade_request(host=None), 400),
    "a POST": (upgrade_request().replace(b"GET", b"POST"), 400),
    "HTTP/1.0": (upgrade_request().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "no HTTP at all": (b"hello there\r\n\r\n", 400),
    "a TLS greeting": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n\n", 400),
    "a head of 17 KB": (upgrade_request(x_long="x" * 17_000), 431),
    "another address": (upgrade_request(target="/chat"), 404),
    "healthz": (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", 200),
    "readyz": (b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n", 200),
    "readyz, head only": (b"HEAD /readyz HTTP/1.1\r\nhost: x\r\n\r\n", 200),
    "healthz by POST": (b"POST /healthz HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    "metrics on the clients' port": (b"GET /metrics HTTP/1.1\r\nhost: [::1]:8000\r\n\r\n", 404),
    "another page": (b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
    "ws as a page": (b"GET /ws HTTP/1.1\r\nhost: localhost\r\n\r\n", 426),
    "a page under another name": (b"GET /nothing HTTP/1.1\r\nhost: evil.test\r\n\r\n", 421),
}


@pytest.mark.parametrize("name", HANDSHAKES)
@virtual_time
async def test_a_request_that_is_no_proper_handshake_gets_its_status(name: str) -> None:
    """The status says what is wrong, the connection is closed, and no session was made."""
    request, status = HANDSHAKES[name]
    async with open_scene() as scene:
        stream = scene.sim.dial()
        await stream.send_all(request)
        begun_s = trio.current_time()
        answer = await read_answer(stream)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert trio.current_time() - begun_s < 1
        assert len(scene.sim.node.sessions) == 3
        assert scene.sim.node.metrics.counts.connections_opened == 3


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:8000", "https://localhost:8000", "HTTPS://LOCALHOST:8000", "https://app.test"],
)
@virtual_time
async def test_an_origin_of_the_same_host_or_on_the_list_may_connect(origin: str) -> None:
    """Web pages of the server itself, and of those that it names, are let in."""
    async with open_sim(Config(allowed_origins=("https://app.test",))) as sim:
        client = SimClient(sim.dial(), JSON)
        assert await client.upgrade(upgrade_request(origin=origin)) == 101


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1:8000", "127.3.2.1", "[::1]:8000", "[::1]"]
)
@virtual_time
async def test_loopback_has_many_names(host: str) -> None:
    """Whatever leads to this machine only, with any port."""
    async with open_sim() as sim:
        assert await SimClient(sim.dial(), JSON).upgrade(upgrade_request(host=host)) == 101


@pytest.mark.parametrize(
    ("config", "served"),
    [
        (Config(allowed_hosts=("chat.test", "fd00::7")), ASKED_FOR - {"evil.test"}),
        (Config(host="192.0.2.7"), ASKED_FOR),
        (Config(host="192.0.2.7", allowed_hosts=("chat.test",)), ASKED_FOR - {"evil.test", "[fd00::7]:1"}),
    ],
)
@virtual_time
async def test_names_may_be_added_and_elsewhere_than_on_loopback_all_are_served(
    config: Config, served: frozenset[str]
) -> None:
    """A server that others reach is asked under names that it cannot know, unless it was told them."""
    async with open_sim(config) as sim:
        for host in sorted(ASKED_FOR):
            status = await SimClient(sim.dial(), JSON).upgrade(upgrade_request(host=host))
            assert status == (101 if host in served else 421)


@pytest.mark.parametrize(
    "url", ["ws://[::1]:8000/ws", "ws://127.0.0.1:8000/ws", "ws://localhost:8000/ws", "ws://localhost/ws"]
)
@virtual_time
async def test_our_client_asks_for_loopback_by_a_name_that_is_served(url: str) -> None:
    """Under every name of this machine, IPv6 in its brackets."""
    async with (
        open_sim() as sim,
        open_client(url, guest="ann", rng=Random(1), dial=sim.dial_soon) as client,  # noqa: S311
    ):
        assert client.connected


@virtual_time
async def test_an_empty_body_is_none() -> None:
    """Some clients say so of every request."""
    async with open_sim() as sim:
        assert await SimClient(sim.dial(), JSON).upgrade(upgrade_request(content_length="0")) == 101


@virtual_time
async def test_no_subprotocol_means_json() -> None:
    """Who offers none speaks JSON, and is not told a subprotocol that it did not offer."""
    async with open_sim() as sim:
        client = SimClient(sim.dial(), JSON)
        assert await client.upgrade(upgrade_request()) == 101
        sim.start_reading(client)
        await client.hello("plain")


@pytest.mark.parametrize("beginning", [b"", b"GET /ws HTTP/1.1\r\nhost: x\r\n"])
@virtual_time
async def test_a_head_that_does_not_end_in_ten_seconds_is_closed(beginning: bytes) -> None:
    """A byte now and then does not help: the whole head has 10 seconds."""
    async with open_scene() as scene:
        stream = scene.sim.dial()
        begun_s = trio.current_time()
        if beginning:
            await stream.send_all(beginning)
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012  until the server closes
            for _ in range(100):
                await trio.sleep(1)
                if beginning:
                    await stream.send_all(b"x")
                elif await stream.receive_some() == b"":
                    raise trio.BrokenResourceError
        assert 10 <= trio.current_time() - begun_s <= 12


@virtual_time
async def test_a_peer_that_leaves_or_stalls_in_the_handshake_leaves_nothing_behind() -> None:
    """Whether it resets before the answer or never takes it, no session stays in the books."""
    async with open_scene() as scene:
        stalled = scene.sim.dial(lockstep=True)
        await stalled.send_all(upgrade_request())
        gone = scene.sim.dial(lockstep=True)
        await gone.send_all(upgrade_request())
        await trio.aclose_forcefully(gone)
        await trio.sleep(30)
        assert len(scene.sim.node.sessions) == 3
        counts = scene.sim.node.metrics.counts
        assert counts.connections_opened - counts.connections_closed == 3


@virtual_time
async def test_a_handshake_that_was_refused_takes_no_place() -> None:
    """It is over with its answer, and the next one is served."""
    async with open_sim(Config(connections_max=1)) as sim:
        for _ in range(3):
            stream = sim.dial()
            await stream.send_all(upgrade_request(sec_websocket_key=None))
            assert (await read_answer(stream)).startswith(b"HTTP/1.1 400 ")
            await trio.testing.wait_all_tasks_blocked()
            assert sim.node.metrics.counts.handshakes_failed == 1
            sim.node.metrics.counts.handshakes_failed = 0
        assert await SimClient(sim.dial(), JSON).upgrade(upgrade_request()) == 101
        assert trio.current_time() < 1


@virtual_time
async def test_a_server_that_is_full_or_stopping_takes_no_more() -> None:
    """503 for those who come, and those who are there stay."""
    async with open_scene(config=Config(connections_max=4)) as scene:
        fourth = scene.sim.dial()
        assert await SimClient(fourth, JSON).upgrade(upgrade_request()) == 101
        assert await SimClient(scene.sim.dial(), JSON).upgrade(upgrade_request()) == 503
        await trio.aclose_forcefully(fourth)
        await trio.sleep(0.1)
        assert await SimClient(scene.sim.dial(), JSON).upgrade(upgrade_request()) == 101
        scene.sim.node.readiness.drain()
        assert await SimClient(scene.sim.dial(), JSON).upgrade(upgrade_request()) == 503


@virtual_time
async def test_connections_from_one_address_are_limited_and_others_come_in() -> None:
    """The 201st at once is closed unheard, of an IPv6 network as of an address; others are served."""
    async with open_sim() as sim:
        ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"

        async def served(peer: str) -> bool:
            stream = sim.dial(peer=peer)
            try:
                await stream.send_all(ask)
                return bool(await read_answer(stream))
            except trio.BrokenResourceError:
                return False

        assert [await served("203.0.113.9") for _ in range(202)].count(True) == 200
        assert await served("203.0.113.10")
        networks = [await served(f"2001:db8:1:2:{number:x}::1") for number in range(202)]
        assert networks.count(True) == 200
        assert await served("2001:db8:1:3::1")
        assert all([await served("127.0.0.1") for _ in range(250)])
