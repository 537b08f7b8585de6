"""Cursors: what was made comes back, and what was made up is refused."""

from hypothesis import given
from hypothesis import strategies as st

from chat.cursors import from_cursor, to_cursor
from chat.errors import ErrorCode, Refused


@given(after=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_cursor_comes_back_as_what_it_was_made_of(after: str) -> None:
    """Opaque to clients, exact for the server."""
    assert from_cursor(to_cursor(after)) == after
    assert to_cursor(after).isascii()


@given(cursor=st.text(max_size=40))
def test_whatever_a_client_makes_up_is_a_cursor_or_refused(cursor: str) -> None:
    """Nothing but `bad_cursor` comes of it, and never a NUL or an empty text."""
    try:
        after = from_cursor(cursor)
    except Refused as refused:
        assert (refused.code, refused.field) == (ErrorCode.BAD_CURSOR, "cursor")  # noqa: PT017
    else:
        assert after
        assert "\0" not in after
