"""`parley replay FILE...`: recorded channels as load and as proof (see `replay_plan` for the files).

Every nickname gets its own connection, every file its own room; the files run at the same time, the lines of
one file strictly one after the other: the next is played when the room has ordered the one before, not when
it is stored. Then every room's history must be its file.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chat.client import Dial, Encoding
from chat.codec import JSON, MSGPACK
from chat.decode_memo import DecodeMemo
from chat.descriptors import allow_files
from chat.first_dial import FirstDial
from chat.replay_person import Tally, Wiring
from chat.replay_plan import Transcript, TranscriptError, read_transcript, room_name
from chat.replay_report import ReplayReport, percentile
from chat.replay_room import ReplayError, RoomPlayer
from chat.transport.poller import Poller

MAX_CONNECTIONS: Final = 5000
HANDSHAKES: Final = 32
"""Connections being made at once: more would only wait in the server's queue, and time out there."""

SPARE_FILES: Final = 64
PROGRESS_S: Final = 0.2
MS: Final = 1000

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1


async def run_replay(
    files: Sequence[Path],
    *,
    url: str,
    speed: float | None = None,
    encoding: Encoding = "msgpack",
    fresh: bool = False,
    suffix: str = "",
    json_output: bool = False,
    max_connections: int = MAX_CONNECTIONS,
    show: Callable[[str], None] | None = None,
    rng: Random | None = None,
    dial: Dial | None = None,
) -> int:
    """Play files against a server and check what it kept.

    Args:
        files: transcripts, see `replay_plan`.
        url: the server's, see `open_client`.
        speed: times as fast as the channel was; None: as fast as it goes.
        encoding: of the protocol.
        fresh: play in rooms of this replay's own. Else a second replay goes on in the same rooms, and only
            what it adds is checked.
        suffix: of the rooms' names, to choose them oneself; over `fresh`.
        json_output: print the report as one JSON object, without a progress bar.
        max_connections: at once, over all files.
        show: prints one line; standard output when None.
        rng: the system's when None.
        dial: in place of TCP.

    Returns:
        0 when every history equals its file, 1 with the differences printed when not.

    Raises:
        TranscriptError: a file is no transcript, or two files would share a room.
        ReplayError: it needs more connections than allowed or than the system gives files for.
        ConnectFailed: no server answers.
        OSError: a file cannot be read.
    """
    if speed is not None and speed <= 0:
        raise ReplayError("the speed must be above 0")
    rng = rng or SystemRandom()
    show = show or _print
    transcripts = [_read(path) for path in files]
    ending = suffix or (f"{rng.getrandbits(32):08x}" if fresh else "")
    rooms = [room_name(path.stem, ending) for path in files]
    for room in rooms:
        if rooms.count(room) > 1:
            raise TranscriptError(f"two files would be played in the room {room}")
    connections = sum(transcript.peak for transcript in transcripts) + len(transcripts)
    _allow_connections(connections, max_connections, sockets=dial is None)
    if dial is None:
        first = FirstDial(url)
        await first.connect()
        await first.aclose()
    tally = Tally()
    poller = Poller()
    codec = MSGPACK if encoding == "msgpack" else JSON
    total = sum(transcript.messages for transcript in transcripts)
    with _progress(hidden=json_output or not sys.stderr.isatty()) as progress:
        bar = progress.add_task("playing", total=total)
        wiring = Wiring(
            url=url,
            encoding=encoding,
            speed=speed,
            rng=rng,
            dial=dial,
            decode=DecodeMemo(codec.decode_envelope),
            tally=tally,
            advance=lambda: progress.advance(bar),
            handshakes=trio.CapacityLimiter(HANDSHAKES),
            poller=poller,
        )
        players = [
            RoomPlayer(transcript, room, wiring) for transcript, room in zip(transcripts, rooms, strict=True)
        ]
        began_s = trio.current_time()
        async with trio.open_nursery() as drawing:
            drawing.start_soon(_draw, progress)
            await drawing.start(poller.run)
            async with trio.open_nursery() as playing:
                for player in players:
                    playing.start_soon(player.run)
            drawing.cancel_scope.cancel()
    report = _report(transcripts, rooms, players, tally, began_s)
    for line in [report.as_json()] if json_output else report.as_lines():
        show(line)
    return EXIT_FAILED if report.differences else EXIT_OK


def _report(
    transcripts: Sequence[Transcript],
    rooms: Sequence[str],
    players: Sequence[RoomPlayer],
    tally: Tally,
    began_s: float,
) -> ReplayReport:
    finished_s = max((player.finished_at_s for player in players), default=began_s)
    elapsed_s = max(finished_s - began_s, 0.001)
    ok_ms = sorted(seconds * MS for seconds in tally.ok_s)
    return ReplayReport(
        files=len(transcripts),
        nicknames=sum(len(transcript.names) for transcript in transcripts),
        messages=tally.messages,
        left_out=sum(transcript.left_out for transcript in transcripts),
        deliveries=tally.deliveries,
        reconnects=tally.reconnects,
        elapsed_s=round(elapsed_s, 3),
        messages_per_s=round(tally.messages / elapsed_s, 1),
        deliveries_per_s=round(tally.deliveries / elapsed_s, 1),
        ok_p50_ms=round(percentile(ok_ms, 50), 3),
        ok_p99_ms=round(percentile(ok_ms, 99), 3),
        ok_max_ms=round(percentile(ok_ms, 100), 3),
        rooms=rooms,
        differences=[words for player in players for words in player.differences],
    )


def _read(path: Path) -> Transcript:
    with path.open("rb") as lines:
        return read_transcript(path.name, lines)


def _allow_connections(needed: int, most: int, *, sockets: bool) -> None:
    """Make sure that the system gives a file for every connection.

    Raises:
        ReplayError: it does not, or they are more than `most`.
    """
    if needed > most:
        raise ReplayError(f"{needed} connections at once are needed, {most} are allowed: replay fewer files")
    if not sockets:
        return
    files = needed + SPARE_FILES
    allowed = allow_files(files)
    if allowed < files:
        raise ReplayError(
            f"{needed} connections at once need {files} open files, the limit is {allowed}: "
            "raise it (ulimit -n) or replay fewer files"
        )


def _progress(*, hidden: bool) -> Progress:
    # Drawn by a task of ours: rich would start a thread for it.
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("messages"),
        TimeElapsedColumn(),
        auto_refresh=False,
        disable=hidden,
        console=Console(stderr=True),
    )


async def _draw(progress: Progress) -> None:
    while True:
        progress.refresh()
        await trio.sleep(PROGRESS_S)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
