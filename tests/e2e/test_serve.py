"""`parley serve` as an operator meets it: stopping and starting again, tokens, probes, and mistakes."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest
import trio

from chat.client import open_client
from chat.client_errors import RequestRefused
from chat.client_feed import Disconnected, Notice, Update
from tests.e2e.server_process import ServerProcess, numbers, open_server, parley, run_parley, until
from tests.faults.load import OPTIONS, Shape, open_load
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

STOP_S = 60.0
"""For a stop, `drain_s` (15 by default) and the database's own end, on a machine with other things to do."""
SHAPE = Shape(rooms=10)
SHORT_ABSENCE = "bye_retry_after_s = 0.2\n"


class Ears:
    """An `on_update` that remembers how connections ended."""

    def __init__(self) -> None:
        self.byes: list[dict[str, object]] = []
        self.ends: list[int] = []

    def __call__(self, update: Update) -> None:
        """Remember a `bye`, and an end."""
        if isinstance(update, Notice) and update.envelope["t"] == "bye":
            self.byes.append(update.envelope)
        elif isinstance(update, Disconnected):
            self.ends.append(update.code)


async def test_sigterm_under_load_loses_nothing_and_never_rewinds(tmp_path: Path) -> None:
    """Stopped and started three times under load: exit 0, every message stored, nobody told to rewind."""
    async with open_server(tmp_path, settings=SHORT_ABSENCE) as server, open_load(server, SHAPE) as load:
        codes = []
        for _ in range(3):
            await load.more_told(700)
            codes.append(await server.terminate(timeout_s=STOP_S))
            await server.start()
            await load.all_connected()
            await load.check_told()
        await load.check(in_order=True)

        assert codes == [0, 0, 0]
        assert load.count_rewinds() == 0
        assert {log.ends[0] for log in load.logs} == {4000}
        assert await server.metric("parley_rewinds_total") == 0


async def test_a_stop_answers_what_it_accepted_before_it_says_bye(tmp_path: Path) -> None:
    """Everything that was sent before SIGTERM and seen in the room is answered ok, then comes `bye`."""
    async with open_server(tmp_path) as server, open_load(server, SHAPE, running=False) as load:
        for number in range(20):
            for talker in load.talkers:
                talker.post(load.body(number))
        await until(lambda: load.delivered >= 100, "nothing is delivered")
        server.send_signal(SIGTERM)
        assert await server.wait_ended(timeout_s=STOP_S) == 0
        accepted = {
            (event.by, event.cid) for log in load.logs for event in log.events.values() if event.is_message
        }
        told = {(ok.by, cid) for talker in load.talkers for cid, ok in talker.told.items()}

        assert accepted
        assert accepted - told == set()


async def test_everybody_is_told_bye_and_when_to_come_back(tmp_path: Path) -> None:
    """At a stop every client hears `bye` 4000 with `retry_after`, and then the close with that code."""
    async with open_server(tmp_path) as server:
        heard = [Ears() for _ in range(5)]
        async with trio.open_nursery() as nursery:
            opened = [trio.Event() for _ in heard]
            for number, ears in enumerate(heard):
                nursery.start_soon(stay, server.url, f"guest {number}", ears, opened[number])
            for event in opened:
                await event.wait()
            assert await server.terminate(timeout_s=STOP_S) == 0
            await until(lambda: all(ears.ends for ears in heard), "not everybody has noticed")
            nursery.cancel_scope.cancel()

        assert [[bye["code"] for bye in ears.byes] for ears in heard] == [[4000]] * 5
        assert [ears.ends[0] for ears in heard] == [4000] * 5
        waits = [bye["retry_after"] for ears in heard for bye in ears.byes]
        assert all(isinstance(wait_s, float) and wait_s >= 2.0 for wait_s in waits)


async def stay(url: str, name: str, ears: Ears, opened: trio.Event) -> None:
    """Be there until cancelled."""
    async with open_client(url, guest=name, rng=Random(1), options=OPTIONS, on_update=ears):  # noqa: S311
        opened.set()
        await trio.sleep_forever()


async def test_a_second_server_on_the_same_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    """Somebody else's directory is an error that says so; the first server does not notice."""
    async with open_server(tmp_path) as server:
        second = await parley("serve", "--data-dir", str(server.data_dir), "--port", "0")
        async with open_client(server.url, guest="ann", rng=Random(1), options=OPTIONS) as client:  # noqa: S311
            await client.join("lobby", create=True)
            stored = await client.send("lobby", "still here")

        assert second.returncode == 1
        assert second.stdout == ""
        (line,) = second.stderr.splitlines()
        assert line.startswith("parley: ")
        assert str(server.data_dir) in line
        assert stored.seq == 1


async def test_a_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    """A port that another server has is an error that says so, and no process stays behind."""
    async with open_server(tmp_path) as server:
        port = str(server.port)
        second = await parley("serve", "--data-dir", str(tmp_path / "other"), "--port", port)
        started_again = await parley("migrate", "--data-dir", str(tmp_path / "other"))

        assert second.returncode == 1
        assert "Traceback" not in second.stderr
        assert [line for line in second.stderr.splitlines() if line.startswith("parley: ") and port in line]
        assert started_again.returncode == 0


async def test_a_token_made_while_the_server_runs_lets_its_user_in(tmp_path: Path) -> None:
    """`parley token create` beside a running server: the user logs in, talks, and is who they are."""
    async with open_server(tmp_path) as server:
        made = await parley("token", "create", "Ada", "--data-dir", str(server.data_dir))
        token = made.stdout.strip()
        async with open_client(server.url, token=token, rng=Random(1), options=OPTIONS) as client:  # noqa: S311
            user = client.welcome["user"]
            user_id = client.user_id
            await client.join("lobby", create=True)
            await client.send("lobby", "hello")
            page = await client.history("lobby")

        assert made.returncode == 0
        assert token.startswith("pt_")
        assert user == {"id": user_id, "name": "Ada"}
        assert user_id.startswith("u_")
        items = page["items"]
        assert isinstance(items, list)
        assert [(item["by"], item["name"], item["body"]) for item in items] == [(user_id, "Ada", "hello")]


async def test_guests_are_refused_where_the_database_is_somebody_elses(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """With a database URL guests stay out unless they are let in; a token works."""
    async with postgres_server.fresh(migrated=False) as bare_dsn:
        # Its server asks for none; ours must keep it to itself all the same.
        dsn = bare_dsn.replace("@", ":hunter2@", 1)
        made = await parley("token", "create", "Ada", PARLEY_DATABASE_URL=dsn)
        async with open_server(tmp_path, "--database-url", dsn) as server:
            with pytest.raises(RequestRefused) as refused:
                async with open_client(server.url, guest="ann", rng=Random(1), options=OPTIONS):  # noqa: S311
                    pass
            token = made.stdout.strip()
            async with open_client(server.url, token=token, rng=Random(1), options=OPTIONS) as client:  # noqa: S311
                welcomed = client.user_id
            printed = "\n".join(server.printed)
        async with (
            open_server(tmp_path, "--database-url", dsn, settings="guests = true\n") as server,
            open_client(server.url, guest="ann", rng=Random(1), options=OPTIONS) as client,  # noqa: S311
        ):
            guest = client.user_id

        assert refused.value.code == "unauthenticated"
        assert not refused.value.temporary
        assert welcomed.startswith("u_")
        assert "guests: not let in" in printed
        assert "hunter2" not in printed
        assert guest.startswith("g_")


async def test_the_probes_and_the_metrics_say_what_happens(tmp_path: Path) -> None:
    """/healthz and /readyz answer on both ports, /metrics on the operators' alone, with true figures."""
    async with open_server(tmp_path) as server:
        async with open_client(server.url, guest="zanzibar", rng=Random(1), options=OPTIONS) as client:  # noqa: S311
            await client.join("lobby", create=True)
            for number in range(3):
                await client.send("lobby", f"secret words {number}")
            status, text = await server.get("/metrics")
            inside = await answers(server, public=False)
            outside = await answers(server, public=True)

        assert status == 200
        assert inside == {"/healthz": 200, "/readyz": 200, "/metrics": 200, "/nonsense": 404}
        assert outside == {"/healthz": 200, "/readyz": 200, "/metrics": 404, "/nonsense": 404}
        for name, value in {
            "parley_acks_total": 3,
            "parley_events_total": 3,
            "parley_connections": 1,
            "parley_rooms_active": 1,
            "parley_rewinds_total": 0,
            "parley_commit_seconds_count": 3,
        }.items():
            assert (name, list(numbers(text, name))) == (name, [value])
        for name in (
            "parley_room_mailbox_depth",
            "parley_mailbox_wait_seconds_count",
            "parley_turn_seconds_count",
            "parley_flush_bytes_count",
            "parley_flush_seconds_count",
            "parley_writer_backlog_rows",
            "parley_loop_lag_p99_seconds",
            "parley_gc_pause_seconds_count",
            "parley_deliveries_total",
            "parley_shed_frames_total",
            "parley_pressure_level",
        ):
            assert list(numbers(text, name)), name
        for private in ("lobby", "zanzibar", "secret words"):
            assert private not in text
            assert private not in "\n".join(server.printed)


async def answers(server: ServerProcess, *, public: bool) -> dict[str, int]:
    """The status of every path."""
    ask = server.get_public if public else server.get
    paths = ("/healthz", "/readyz", "/metrics", "/nonsense")
    return {path: (await ask(path))[0] for path in paths}


async def test_readyz_tells_when_a_server_is_on_its_way_out(tmp_path: Path) -> None:
    """While it drains, waiting for storage, it says `draining` with 503; it still ends with 0."""
    async with open_server(tmp_path) as server:
        async with open_client(server.url, guest="ann", rng=Random(1), options=OPTIONS) as client:  # noqa: S311
            await client.join("lobby", create=True)
            postgres = server.postgres()
            postgres.stop_all()
            outgoing = client.post("lobby", "on its way")
            await until(lambda: outgoing.seq, "the room has not taken it")
            server.send_signal(SIGTERM)
            while (ready := await server.get("/readyz"))[0] == 200:
                await trio.lowlevel.checkpoint()
            postgres.continue_all()
            code = await server.wait_ended(timeout_s=STOP_S)

        assert ready[0] == 503
        assert json.loads(ready[1])["state"] == "draining"
        assert code == 0
        assert outgoing.stored is not None


MISTAKES = {
    "an unknown setting": (["serve"], {"PARLEY_PROT": "1"}, ["PARLEY_PROT", "did you mean PARLEY_PORT?"]),
    "a port out of range": (["serve", "--port", "70000"], {}, ["port", "--port", "0 to 65535"]),
    "a word for a number": (["serve"], {"PARLEY_DRAIN_S": "soon"}, ["drain_s", "PARLEY_DRAIN_S", "'soon'"]),
    "a contradiction": (["serve"], {"PARLEY_HEARTBEAT_S": "5"}, ["pong_timeout_s", "heartbeat_s"]),
    "no database address": (["serve", "--database-url", "mysql://x"], {}, ["database_url", "postgresql://"]),
    "a missing file": (["serve", "--config", "/nowhere.toml"], {}, ["/nowhere.toml", "no such file"]),
    "an unknown option": (["serve", "--prot", "1"], {}, ["--prot"]),
}


@pytest.mark.parametrize(("arguments", "environ", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_every_mistake_in_the_settings_gets_one_line(
    arguments: Sequence[str], environ: dict[str, str], words: Sequence[str]
) -> None:
    """A mistake ends the start with exit code 2 and one line that names it, and what is allowed."""
    result = run_parley(*arguments, **environ)
    (line,) = result.stderr.splitlines()

    assert result.returncode == 2
    assert result.stdout == ""
    assert line.startswith("parley: ")
    assert [word for word in words if word not in line] == []


def test_all_mistakes_are_told_at_once() -> None:
    """Three mistakes are three lines."""
    result = run_parley("serve", "--port", "-1", PARLEY_DRAIN_S="soon", PARLEY_NO_SUCH="1")

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 3


async def test_a_database_out_of_reach_is_told_in_one_line(tmp_path: Path) -> None:
    """A database URL where nobody listens: exit code 1, one line, no password in it."""
    url = "postgresql://ann:hunter2@127.0.0.1:1/parley"
    result = await parley("serve", "--database-url", url, PARLEY_DB_CONNECT_TIMEOUT_S="1")
    lines = [line for line in result.stderr.splitlines() if line.startswith("parley: ")]

    assert result.returncode == 1
    assert len(lines) == 1
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr + result.stdout
    assert not (tmp_path / "data").exists()
