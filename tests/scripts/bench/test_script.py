"""The script: what Python writes and the clients read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bench.script import (
    NONE,
    Connection,
    Dialect,
    IdKind,
    SendFrame,
    SeqKind,
    Step,
    read_script,
    render_script,
)

OFFSETS = st.integers(0, 1000) | st.just(NONE)
DIALECTS = st.builds(
    Dialect,
    id_kind=st.sampled_from(IdKind),
    seq_kind=st.sampled_from(SeqKind),
    ok_mark=st.binary(),
    error_mark=st.binary(),
    seq_mark=st.binary(),
)
CONNECTIONS = st.builds(
    Connection,
    room=st.integers(0, 5),
    steps=st.lists(st.builds(Step, sent=st.binary(), mark=st.binary()), max_size=4),
    send=st.builds(
        SendFrame, frame=st.binary(), time_at=OFFSETS, cid_at=OFFSETS, id_at=OFFSETS, mask_at=OFFSETS
    ),
)


@given(dialect=DIALECTS, connections=st.lists(CONNECTIONS, min_size=1, max_size=5))
def test_a_script_reads_back_as_it_was_written(dialect: Dialect, connections: list[Connection]) -> None:
    """What a client reads is what was meant."""
    assert read_script(render_script(dialect, connections)) == (dialect, connections)


@given(dialect=DIALECTS, connection=CONNECTIONS, data=st.data())
def test_a_script_that_was_cut_short_is_refused(
    dialect: Dialect, connection: Connection, data: st.DataObject
) -> None:
    """A file that was not written to its end measures nothing."""
    script = render_script(dialect, [connection])
    size = data.draw(st.integers(0, len(script) - 1))
    with pytest.raises(ValueError, match="script"):
        read_script(script[:size])
