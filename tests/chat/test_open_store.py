"""Databases in words."""

import pytest
from pydantic import SecretStr

from chat.config import Config
from chat.open_store import away, describe_database
from storage import Unavailable


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ann:hunter2@db:5433/parley", "db:5433"),
        ("postgresql://db/parley", "db:5432"),
        ("postgres://ann@[::1]/parley", "[::1]:5432"),
        ("postgresql://ann@[::1]:99/parley", "[::1]:99"),
        ("postgresql://ann:hunter2@/parley?host=/run/postgresql", "/run/postgresql"),
        ("postgresql:///parley", "localhost:5432"),
        ("postgresql://a:1,b:2/parley", "a:1,b:2"),
    ],
)
def test_a_database_of_yours_is_named_by_its_place_without_the_password(url: str, place: str) -> None:
    """Host and port, or the socket's directory; and the setting, where it does not answer."""
    config = Config(database_url=SecretStr(url))

    assert describe_database(config) == f"PostgreSQL at {place}"
    assert str(away(config, Unavailable("OSError: ann:hunter2"))) == (
        f"the database at {place} does not answer (PARLEY_DATABASE_URL)"
    )


def test_our_own_database_is_named_by_its_directory() -> None:
    """What goes wrong with it is told as it is."""
    error = Unavailable("no answer within 10 s")

    assert describe_database(Config()) == "embedded Postgres in data"
    assert away(Config(), error) is error
