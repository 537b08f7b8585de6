"""PURE: a scenario's settings: how many users, in which rooms, doing what, for how long."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from chat.backoff import FIRST_CEILING_S
from scripts.load.behaviours import BEHAVIOURS, Behaviour, Seconds, Share

USERS_MAX: Final = 20_000


class Scenario(Struct, frozen=True, kw_only=True):
    """Everything that a run is made of, but the server's address.

    Attributes:
        name: of the scenario.
        description: one sentence.
        users: simulated at once.
        duration_s: of what is measured.
        ramp_s: in which they come, evenly.
        settle_s: after the ramp, before the measuring begins.
        drain_s: at most, after the end, for what is still on its way.
        gone_s: without any connection, after which the server counts as gone and the run ends.
        reconnect_s: who lost a connection comes back within so much; six times as much after failures.
        seed: repeats every choice.
        users_per_room: 0: all of them are in one room.
        rooms_per_user: how many rooms each is in.
        watchers: the part of users that watches who is in the room.
        encoding: of the protocol; `both`: every other user each.
        groups: what they do.
    """

    name: str = "unnamed"
    description: str = ""
    users: Annotated[int, Meta(ge=2, le=USERS_MAX)] = 100
    duration_s: Seconds = 30.0
    ramp_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    settle_s: Annotated[float, Meta(ge=0, le=600)] = 1.0
    drain_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
    gone_s: Annotated[int, Meta(ge=1, le=600)] = 10
    reconnect_s: Annotated[float, Meta(gt=0, le=600)] = FIRST_CEILING_S
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 1
    users_per_room: Annotated[int, Meta(ge=0, le=USERS_MAX)] = 0
    rooms_per_user: Annotated[int, Meta(ge=1, le=100)] = 1
    watchers: Share = 0.0
    encoding: Literal["msgpack", "json", "both"] = "msgpack"
    groups: Sequence[Behaviour] = ()

    @property
    def rooms(self) -> int:
        """How many rooms there are."""
        if not self.users_per_room:
            return self.rooms_per_user
        memberships = self.users * self.rooms_per_user
        return max(self.rooms_per_user, -(-memberships // self.users_per_room))

    @property
    def steady_s(self) -> float:
        """When the measuring begins, seconds since the run's start."""
        return self.ramp_s + self.settle_s

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.steady_s + self.duration_s

    def as_table(self) -> dict[str, object]:
        """All settings as plain values, as a scenario file would have them."""
        table: dict[str, object] = {
            name: getattr(self, name) for name in self.__struct_fields__ if name != "groups"
        }
        table["group"] = [
            {"behaviour": behaviour_name(group), **msgspec.to_builtins(group)} for group in self.groups
        ]
        return table


def room_names(run: str, rooms: int) -> list[str]:
    """What a run's rooms are called, by their numbers; `run` makes the names its own."""
    return [f"load-{run}-{number}" for number in range(rooms)]


def behaviour_name(behaviour: Behaviour) -> str:
    """What scenario files call it."""
    return next(name for name, kind in BEHAVIOURS.items() if kind is type(behaviour))
