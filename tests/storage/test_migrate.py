"""The migration runner: what it accepts as a set of steps, and what it does to a database."""

from pathlib import Path

import pytest
import trio

from storage.database import Database, Tx
from storage.errors import MigrationError
from storage.migrate import Applied, Migration, load_migrations, migrate, pending, plan
from storage.pool import open_database


def directory_of(place: Path, **scripts: str) -> Path:
    """Write each script as a file, `m0001_a` as 0001_a.sql."""
    place.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (place / f"{name[1:]}.sql").write_text(script)
    return place


def steps(*names: str) -> list[Migration]:
    """Steps whose checksum is their name."""
    return [Migration(number, name, name, "") for number, name in enumerate(names, start=1)]


def remembered(*names: str) -> list[Applied]:
    """The same, as a database remembers them."""
    return [Applied(number, name, name) for number, name in enumerate(names, start=1)]


async def tables(tx: Tx) -> list[str]:
    """The names of a database's tables."""
    return await tx.fetch_as(
        str, "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname ~ '^t_' ORDER BY 1"
    )


def test_the_products_own_steps_are_well_named_and_without_a_gap() -> None:
    """The package's migrations load, from 0001 on."""
    loaded = load_migrations()

    assert [step.number for step in loaded] == list(range(1, len(loaded) + 1))
    assert loaded


def test_steps_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    """The order of the files in the directory does not matter, and other files are left alone."""
    place = directory_of(tmp_path, m0002_b="B", m0001_a="A")
    (place / "README.md").write_text("not a step")

    assert [(s.name, s.sql) for s in load_migrations(place)] == [("0001_a.sql", "A"), ("0002_b.sql", "B")]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("m0001_a", "m0003_c"), "0002 is missing before 0003_c.sql"),
        (("m0002_b",), "0001 is missing before 0002_b.sql"),
        (("m0001_a", "m0001_b"), "0001_b.sql is used twice"),
        (("m1_a",), "not named NNNN_name.sql"),
        (("m0001_A-b",), "not named NNNN_name.sql"),
    ],
)
def test_a_set_with_a_hole_or_a_wrong_name_is_refused(
    tmp_path: Path, names: tuple[str, ...], complaint: str
) -> None:
    """A gap, a number used twice and a badly named file each are an error that names the file."""
    directory_of(tmp_path, **dict.fromkeys(names, ""))

    with pytest.raises(MigrationError, match=complaint):
        load_migrations(tmp_path)


def test_the_plan_is_what_the_database_lacks() -> None:
    """Steps that were applied are not planned again."""
    assert plan(steps("a", "b", "c"), remembered("a")) == steps("a", "b", "c")[1:]
    assert not plan(steps("a"), remembered("a"))


def test_a_database_that_is_newer_than_the_program_is_refused() -> None:
    """An old program never touches a newer schema, and says which program is wanted."""
    with pytest.raises(MigrationError, match="newer than this program: it has c, this program ends with b"):
        plan(steps("a", "b"), remembered("a", "b", "c"))


def test_a_step_that_was_edited_after_it_was_applied_is_refused() -> None:
    """A changed checksum is an error that names the file."""
    with pytest.raises(MigrationError, match="B was changed after it was applied"):
        plan(steps("a", "B"), remembered("a", "b"))


def test_a_hole_in_what_was_applied_is_refused() -> None:
    """A database that lacks a step but has a later one was not made by this runner."""
    with pytest.raises(MigrationError, match="lacks a but has b"):
        plan(steps("a", "b"), remembered("a", "b")[1:])


async def test_steps_are_applied_once_and_later_only_new_ones(
    empty_database: Database, tmp_path: Path
) -> None:
    """Applying is repeatable: a second time does nothing, a new file is all that is applied next."""
    place = directory_of(tmp_path, m0001_a="CREATE TABLE t_a (); CREATE TABLE t_aa ();")

    assert await pending(empty_database, place) == ["0001_a.sql"]
    assert await migrate(empty_database, place) == ["0001_a.sql"]
    assert await migrate(empty_database, place) == []

    directory_of(place, m0002_b="CREATE TABLE t_b ()")

    assert await pending(empty_database, place) == ["0002_b.sql"]
    assert await migrate(empty_database, place) == ["0002_b.sql"]
    assert await empty_database.read(tables) == ["t_a", "t_aa", "t_b"]


async def test_a_step_that_fails_leaves_nothing_and_keeps_the_steps_before_it(
    empty_database: Database, tmp_path: Path
) -> None:
    """Of a failed step nothing stays, and after its correction the rest is applied."""
    place = directory_of(
        tmp_path, m0001_a="CREATE TABLE t_a ()", m0002_b="CREATE TABLE t_b (); SELECT * FROM nothing"
    )

    with pytest.raises(MigrationError, match=r"0002_b\.sql failed: .*nothing"):
        await migrate(empty_database, place)

    assert await empty_database.read(tables) == ["t_a"]

    directory_of(place, m0002_b="CREATE TABLE t_b ()")

    assert await migrate(empty_database, place) == ["0002_b.sql"]


async def test_a_step_may_not_end_its_transaction(empty_database: Database, tmp_path: Path) -> None:
    """A script with a COMMIT of its own would not be applied whole, and is told."""
    place = directory_of(tmp_path, m0001_a="CREATE TABLE t_a (); COMMIT; BEGIN; CREATE TABLE t_b ()")

    with pytest.raises(MigrationError, match="ends its transaction itself"):
        await migrate(empty_database, place)


async def test_an_edited_step_is_noticed_in_the_database(empty_database: Database, tmp_path: Path) -> None:
    """The checksum is kept with the step, and compared by `migrate` and by `pending`."""
    place = directory_of(tmp_path, m0001_a="CREATE TABLE t_a ()")
    await migrate(empty_database, place)
    directory_of(place, m0001_a="CREATE TABLE t_a (id int)")

    with pytest.raises(MigrationError, match="changed after it was applied"):
        await migrate(empty_database, place)
    with pytest.raises(MigrationError, match="changed after it was applied"):
        await pending(empty_database, place)


async def test_starters_at_the_same_time_wait_for_each_other(empty_dsn: str, tmp_path: Path) -> None:
    """Four programs that start at once apply each step exactly once between them."""
    place = directory_of(tmp_path, m0001_a="CREATE TABLE t_a ()", m0002_b="CREATE TABLE t_b ()")
    applied: list[str] = []

    async def start() -> None:
        async with open_database(empty_dsn, max_size=1) as db:
            applied.extend(await migrate(db, place))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(start)

    assert sorted(applied) == ["0001_a.sql", "0002_b.sql"]


async def test_the_products_schema_is_complete_in_a_fresh_database(database: Database) -> None:
    """The fixture that other tests build on has every step applied."""
    assert await pending(database) == []
