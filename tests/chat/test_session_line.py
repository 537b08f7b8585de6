"""What waits in a session's mailbox, and when it is full."""

from chat.protocol import Hello, History, Ping, Send
from chat.session_line import WaitingLine, decides_order

PAGE = History(id=1, room="tea")


def test_what_may_be_overtaken_and_what_may_not() -> None:
    """Whatever has not been looked at yet decides the order, and so do a hello and a message."""
    assert not decides_order(PAGE)
    assert decides_order(Hello(id=1, guest="ann"))
    assert decides_order(Send(id=1, room="tea", cid="1", body="x"))
    line = WaitingLine(8)
    line.put(PAGE, admitted=True)
    assert line.orders == 0
    line.put(Ping(id=2), admitted=False)
    assert line.orders == 1
    for waiting in line.take():
        line.served(waiting)
    assert line.orders == 0


def test_the_last_place_is_the_readers() -> None:
    """Only who can stop reading may fill the line."""
    line = WaitingLine(8)
    for _ in range(7):
        assert line.put_if_spare(PAGE)
    assert not line.put_if_spare(PAGE)
    paused = [line.paused]
    assert not line.put(PAGE, admitted=True)
    paused.append(line.paused)
    assert paused == [False, True]
    assert len(line.take()) == 8
    assert [line.resume(), line.resume()] == [True, False]
