"""A page of history from a room's memory is the page that storage has, whatever was done to the log.

The scripts are those of `test_present`: messages, changes, keys used twice, voids, a failing database, rooms
and servers that die. After each step some pages are asked for, and where the room gives one it is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Literal, TypeAlias

from hypothesis import event, given, settings
from hypothesis import strategies as st

from actors import ActorError
from chat.errors import Refused
from storage.page import PageAsk
from tests.chat.machines import test_present
from tests.chat.machines.lives import USERS, Wait, create_tea, play_lives
from tests.chat.machines.test_present import Op, Say, calm, deaths
from tests.chat.room_kit import ROOM_ID, Bench, Times, virtual_time

PAGES_A_LOOK = 4
Place: TypeAlias = tuple[Literal["before", "after", "around", "latest"], int, int]
"""By what a page is asked for, how far that is from the log's end, and how many events it may have."""

places: st.SearchStrategy[list[Place]] = st.lists(
    st.tuples(
        st.sampled_from(["before", "after", "around", "latest"]),
        st.sampled_from([0, 0, 1, 1, 2, 3, 5, 8, -1, -4]),
        st.integers(1, 7),
    ),
    min_size=1,
    max_size=12,
)


@dataclass(kw_only=True)
class World(test_present.World):
    """What outlives a server; and which pages are asked for, again and again."""

    places: list[Place] = field(default_factory=list[Place])
    compared: int = 0


class Life(test_present.Life):
    """One server, whose pages are looked at after each step."""

    def __init__(self, world: World, bench: Bench) -> None:
        super().__init__(world, bench)
        self._paged = world
        self._next = cycle(world.places)

    async def look(self) -> None:
        """As without pages, and compare some."""
        await super().look()
        head = len(await self._paged.log())
        for kind, back, limit in islice(self._next, PAGES_A_LOOK):
            seq = max(1, head - back)
            await self._compare(
                PageAsk(
                    seq if kind == "before" else None,
                    seq if kind == "after" else None,
                    seq if kind == "around" else None,
                    limit,
                )
            )

    async def _compare(self, ask: PageAsk) -> None:
        try:
            info = await self._bench.inspect("u_ann", ask)
        except (ActorError, Refused):
            event("page: no room")
            return
        page = info.page
        if page is None:
            event("page: of storage")
            return
        stored = await self._paged.memory.history(ROOM_ID, **ask._asdict())
        assert page.durable_seq <= stored.durable_seq
        if page.durable_seq == stored.durable_seq and page.epoch == stored.epoch:
            assert page == stored
            self._paged.compared += 1
            event("page: of memory")
        else:
            event("page: as of a moment ago")


async def simulate(ops: Sequence[Op], asked: list[Place], *, tail_events: int, strict: bool) -> World:
    """Play a script over as many servers as it takes."""
    world = World(places=asked)
    await create_tea(world.memory, strict=strict)
    script: list[Op] = [*(Say(user, "x", 2, None) for user in USERS), Wait(0.01), *ops]

    def live(_: test_present.World, bench: Bench) -> Life:
        return Life(world, bench)

    outlives: test_present.World = world
    await play_lives(outlives, script, Times(tail_events=tail_events), live)
    return world


@virtual_time
async def run_and_check(ops: Sequence[Op], asked: list[Place], tail_events: int, strict: bool) -> None:
    """One script: at its calm end the room's memory gives what it can."""
    world = await simulate(ops, asked, tail_events=tail_events, strict=strict)
    if ("latest", 0, 1) in asked:
        assert world.compared


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm), min_size=10, max_size=60), places, st.integers(2, 8), st.booleans())
def test_a_page_of_memory_is_the_page_of_storage(
    ops: list[Op], asked: list[Place], tail_events: int, strict: bool
) -> None:
    """With a memory that is shorter than most logs."""
    run_and_check(ops, [*asked, ("latest", 0, 1)], tail_events, strict)


@settings(max_examples=100)
@given(st.lists(st.one_of(*calm, *deaths), min_size=10, max_size=60), places, st.booleans())
def test_the_same_holds_whoever_dies(ops: list[Op], asked: list[Place], strict: bool) -> None:
    """With a memory that holds everything, also what an earlier owner ordered."""
    run_and_check(ops, [*asked, ("latest", 0, 1)], 100, strict)
