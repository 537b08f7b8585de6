"""`parley replay FILE` from the command line to Postgres and back.

The channel is invented, and as odd as real ones are: names that are none, a clock that passes midnight, nicks
exchanged, scripts of every direction, control characters, a message that cannot be sent.
"""

import json
from pathlib import Path
from random import Random
from typing import Final

import pytest

from chat.client import open_client
from chat.client_errors import RequestRefused
from tests.e2e.server_process import open_server, parley
from tests.faults.load import OPTIONS, read_history

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

CHANNEL: Final = Path(__file__).parent / "data" / "channel.jsonl"
ROOM: Final = "irc-channel"


def bodies() -> list[str]:
    """What must be in the room's history, read off the file without any code of the product."""
    said: list[str] = []
    for line in CHANNEL.read_bytes().splitlines():
        record = json.loads(line)
        if record["kind"] == "action":
            said.append("/me " + record["text"])
        elif record["kind"] == "message" and record["text"]:
            said.append(record["text"])
    return said


async def test_a_recorded_channel_is_stored_as_it_was(tmp_path: Path) -> None:
    """Every line arrives once, in order, byte for byte, whatever the encoding; the report says so."""
    async with open_server(tmp_path) as server:
        first = await parley("replay", str(CHANNEL), "--url", server.url)
        again = await parley("replay", str(CHANNEL), "--url", server.url, "--encoding", "json", "--json")
        async with open_client(server.url, guest="reader", rng=Random(1), options=OPTIONS) as client:  # noqa: S311
            history = await read_history(client, ROOM)
        rewinds = await server.metric("parley_rewinds_total")
        bad_frames = await server.metric("parley_bad_frames_total")

    assert (first.returncode, first.stderr) == (0, "")
    assert "every history equals its file" in first.stdout
    assert [event.body for event in history if event.is_message] == bodies() * 2
    report = json.loads(again.stdout)
    assert again.returncode == 0
    assert report["differences"] == []
    assert report["messages"] == len(bodies())
    assert report["left_out"] == 1
    assert report["reconnects"] == 0
    assert report["deliveries"] > report["messages"]
    assert (rewinds, bad_frames) == (0, 0)


async def test_a_replay_of_its_own_leaves_other_rooms_alone(tmp_path: Path) -> None:
    """With a suffix the channel is played in a room of that name, and the usual one is not made."""
    async with open_server(tmp_path) as server:
        played = await parley("replay", str(CHANNEL), "--url", server.url, "--suffix", "mine")
        async with open_client(server.url, guest="reader", rng=Random(1), options=OPTIONS) as client:  # noqa: S311
            history = await read_history(client, f"{ROOM}-mine")
            with pytest.raises(RequestRefused) as refused:
                await client.history(ROOM)

    assert played.returncode == 0
    assert [event.body for event in history if event.is_message] == bodies()
    assert refused.value.code == "room_not_found"


async def test_a_file_that_is_no_channel_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    """A line that cannot be read is told with its number, in one line; so is a server that is not there."""
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"at": "10:00", "nick": "ann", "kind": "message", "text": "hi"}\n{"at": "late"}\n')
    refused = await parley("replay", str(broken), "--url", "ws://127.0.0.1:1/ws")

    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert "broken.jsonl:2" in line
