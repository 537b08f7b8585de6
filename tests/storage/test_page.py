"""Where a page lies in a log."""

from hypothesis import given
from hypothesis import strategies as st

from storage.page import PageAsk, span_of

seqs = st.integers(1, 30)
asks = st.one_of(
    st.builds(PageAsk, seqs, st.none(), st.none(), st.integers(1, 12)),
    st.builds(PageAsk, st.none(), seqs, st.none(), st.integers(1, 12)),
    st.builds(PageAsk, st.none(), st.none(), seqs, st.integers(1, 12)),
    st.builds(PageAsk, st.none(), st.none(), st.none(), st.integers(1, 12)),
)


@given(asks, st.integers(0, 25))
def test_a_page_lies_where_looking_at_every_seq_finds_it(ask: PageAsk, last_seq: int) -> None:
    """The nearest on the side that is asked for, and around a seq about half on either."""
    log = range(1, last_seq + 1)
    if ask.after is not None:
        wanted = [seq for seq in log if seq > ask.after][: ask.limit]
    elif ask.around is not None:
        older = [seq for seq in log if seq < ask.around]
        newer = [seq for seq in log if seq >= ask.around][: ask.limit - ask.limit // 2]
        wanted = older[max(0, len(older) - ask.limit // 2) :] + newer
    else:
        wanted = [seq for seq in log if ask.before is None or seq < ask.before][-ask.limit :]

    span = span_of(ask, last_seq)

    assert list(range(span.first, span.last + 1)) == wanted
