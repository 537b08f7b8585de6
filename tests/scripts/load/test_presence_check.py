"""What a watcher shows, against who is there."""

import pytest

from scripts.load.presence_check import (
    Picture,
    best_status,
    differences,
    expected_counts,
    presence_violation,
)


def picture() -> Picture:
    """A watch that has just begun, of two members."""
    made = Picture()
    made.begin(
        {
            "version": 1,
            "presence": [{"user": "a", "status": "online"}, {"user": "b", "status": "offline"}],
            "counts": {"online": 1, "away": 0, "dnd": 0, "total": 2},
        }
    )
    return made


def test_diffs_bring_a_picture_up_to_date() -> None:
    """Changes, comings, goings and counts."""
    shown = picture()
    assert shown.take(
        {
            "version": 2,
            "changes": [
                {"user": "b", "status": "away"},
                {"user": "c", "status": "dnd", "joined": True},
                {"user": "a", "left": True},
            ],
            "counts": {"online": 0, "away": 1, "dnd": 1, "total": 2},
        }
    )
    assert differences(shown, {"b": "away", "c": "dnd"}) == []


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_version_that_is_not_the_next_means_that_something_is_missing(version: int) -> None:
    """Then one watches again."""
    shown = picture()
    assert not shown.take({"version": version, "changes": []})
    assert not shown.take({"version": version + 1, "changes": []})


def test_what_is_shown_otherwise_than_it_is_is_told() -> None:
    """Statuses, strangers and counts."""
    wrong = differences(picture(), {"a": "away", "c": "online"})
    assert wrong[:2] == ["a is away and shown as online", "b is no member and shown as offline"]
    assert wrong[2].startswith("counts ")
    assert presence_violation("r", "w", wrong).kind == "presence"


def test_a_page_may_show_fewer_than_there_are() -> None:
    """The counts are of all."""
    shown = picture()
    shown.counts = expected_counts(["online", "offline", "away"])
    assert differences(shown, {"a": "online", "b": "offline", "c": "away"}) == []


def test_of_two_sessions_the_more_available_counts() -> None:
    """As the server has it."""
    assert best_status("away", None) == "away"
    assert best_status("offline", "dnd") == "dnd"
    assert best_status("online", "away") == "online"
