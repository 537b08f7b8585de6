"""The delivery of one room's events to those who receive them here."""

from chat.codec import JSON, MSGPACK
from chat.measures import Counts
from chat.peers import Broadcast
from chat.topic import Subscriber, Topic, Topics
from chat.transport import Flusher
from storage.model import RoomId
from tests.chat.peers_double import RecordingPeer


class Scene:
    """Two topics of one node, and who may listen to them."""

    def __init__(self) -> None:
        self.flusher = Flusher(clock=float)
        self.counts = Counts()
        self.topics = Topics(self.flusher, self.counts)
        self.tea = self.topics.open("tea", RoomId(7))

    def peer(self, user: str = "ann", *, json: bool = False) -> RecordingPeer:
        """A connection."""
        return RecordingPeer(self.flusher, user, self._leave, JSON if json else MSGPACK)

    def _leave(self, peer: Subscriber) -> None:
        self.tea.discard(peer)


def news(seq: int) -> Broadcast:
    """An event to publish."""
    return Broadcast({"t": "event", "room": "tea", "seq": seq})


def test_everybody_gets_each_event_once_in_its_own_encoding() -> None:
    """In order, and counted by receiver."""
    scene = Scene()
    ann, bob = scene.peer(), scene.peer("bob", json=True)
    for peer in (ann, bob, ann):
        scene.tea.add(peer)
    scene.tea.publish(news(1), 1)
    scene.tea.publish(news(2), 2)
    assert ann.seqs() == bob.seqs() == [1, 2]
    assert scene.counts.deliveries == 4
    assert scene.tea.last_seq == 2


def test_one_frame_is_shared_by_all_of_an_encoding() -> None:
    """Encoded once, not once a receiver."""
    scene = Scene()
    ann, bob = scene.peer(), scene.peer("bob")
    scene.tea.add(ann)
    scene.tea.add(bob)
    scene.tea.publish(news(1), 1)
    assert ann.outbox.frames[0] is bob.outbox.frames[0]


def test_who_has_left_gets_nothing_more() -> None:
    """Leaving twice, or without having been there, changes nothing."""
    scene = Scene()
    ann, bob, eve = scene.peer(), scene.peer("bob"), scene.peer("eve")
    scene.tea.add(ann)
    scene.tea.add(bob)
    for peer in (bob, bob, eve):
        scene.tea.discard(peer)
    scene.tea.publish(news(1), 1)
    assert (ann.seqs(), bob.seqs(), eve.seqs()) == ([1], [], [])
    assert len(scene.tea) == 1
    assert list(scene.tea) == [ann]
    assert ann in scene.tea
    assert bob not in scene.tea


def test_what_may_be_lost_is_no_event() -> None:
    """It moves no seq, and a full outbox sheds it, nobody else's."""
    scene = Scene()
    ann, bob = scene.peer(), scene.peer("bob")
    scene.tea.add(ann)
    scene.tea.add(bob)
    bob.outbox.limit_bytes = 1
    scene.tea.publish_ephemeral(Broadcast({"t": "typing", "room": "tea", "users": [], "count": 1}))
    assert [envelope["t"] for envelope in ann.got()] == ["typing"]
    assert bob.got() == []
    assert not bob.outbox.overflowed
    assert scene.tea.last_seq == 0


def test_a_slow_receiver_delays_nobody() -> None:
    """Its outbox overflows, and the others get the event all the same."""
    scene = Scene()
    peers = [scene.peer("bob"), scene.peer("ann")]
    for peer in peers:
        scene.tea.add(peer)
    peers[0].outbox.limit_bytes = 1
    scene.tea.publish(news(1), 1)
    assert peers[0].outbox.overflowed
    assert peers[1].seqs() == [1]


def test_topics_are_found_by_name_and_by_number() -> None:
    """Opened once, until they are closed."""
    scene = Scene()
    topics = scene.topics
    assert topics.open("tea", RoomId(7)) is scene.tea
    assert topics.get("tea") is scene.tea
    assert topics.name(RoomId(7)) == "tea"
    assert len(topics) == 1
    assert topics.close("tea") is scene.tea
    assert topics.close("tea") is None
    assert topics.get("tea") is None
    assert topics.name(RoomId(7)) is None


def test_a_new_topic_has_no_receivers_and_no_events() -> None:
    """It begins at nothing, of no epoch; who comes gets nothing of before."""
    scene = Scene()
    topic = Topic("other", RoomId(8), scene.flusher, scene.counts)
    assert (len(topic), topic.last_seq, topic.epoch) == (0, 0, 0)
    peer = scene.peer()
    topic.add(peer)
    assert peer.got() == []
