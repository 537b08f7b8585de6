"""What every store promises of rules, reports and messages that are held."""

import pytest

from storage import (
    EVERYWHERE,
    RULES_KEPT,
    WAITING_OF_KIND_MAX,
    WAITING_OF_TEXT_MAX,
    Conflict,
    Filed,
    NewReport,
    ReportMove,
    ReportRow,
    ReportState,
    RoomId,
    RulesRow,
    SearchAsk,
    Store,
)
from tests.storage.rows import AT_MS, changed, make_room, message, owned_room, take_over

LOBBY = RoomId(1)


def rules(version: int, text: str = "[]") -> RulesRow:
    """A version of some room's rules."""
    return RulesRow(version, AT_MS + version, "u_owner", "Owner", text)


def report(
    seq: int, by: str = "u_ann", *, room: RoomId = LOBBY, reason: str = "spam", body: str | None = None
) -> NewReport:
    """A person reports a message."""
    return NewReport(
        *(room, "lobby", "person", seq, by, by.upper(), "u_bob", "BOB", reason, None, AT_MS + seq), body=body
    )


def held(cid: str, *, author: str = "u_bob", body: str = "buy now") -> NewReport:
    """A message that waits to be looked at."""
    return NewReport(
        *(LOBBY, "lobby", "held", None, "", "", author, author.upper(), "links", "no-links", AT_MS),
        cid=cid,
        body=body,
        reply_to=3,
        thread=2,
    )


def move(to: ReportState, by: str = "u_mod", *, report: int = 1, forced: bool = False) -> ReportMove:
    """A moderator does something with a report."""
    return ReportMove(report, to, by, by.upper(), AT_MS + 99, forced=forced)


async def waiting(store: Store, room: RoomId | None = LOBBY, *, after: int = 0) -> list[int]:
    """The numbers of the reports that wait."""
    return [row.report for row in await store.list_reports(room_id=room, waiting=True, after=after, limit=99)]


class RulesContract:
    """Rules of rooms."""

    async def test_a_room_begins_without_rules(self, store: Store) -> None:
        """And so does the server."""
        room = await make_room(store)

        assert await store.read_rules(room) is None
        assert await store.read_rules(EVERYWHERE) is None
        assert (await take_over(store)).rules is None

    async def test_the_latest_version_is_what_counts(self, store: Store) -> None:
        """Also at the next activation; rooms do not share them."""
        room = await make_room(store)
        for version in (1, 2, 3):
            await store.write_rules(room, rules(version, f"[{version}]"))
        await store.write_rules(EVERYWHERE, rules(1, "[9]"))

        assert await store.read_rules(room) == rules(3, "[3]")
        assert (await take_over(store)).rules == rules(3, "[3]")
        assert await store.read_rules(EVERYWHERE) == rules(1, "[9]")

    async def test_a_version_follows_the_one_before(self, store: Store) -> None:
        """Of two that follow the same one the second is a conflict, and changes nothing."""
        room = await make_room(store)
        await store.write_rules(room, rules(1))

        for version in (1, 3):
            with pytest.raises(Conflict):
                await store.write_rules(room, rules(version, "[7]"))
        assert await store.read_rules(room) == rules(1)

    async def test_rules_change_often(self, store: Store) -> None:
        """Old versions are forgotten, and the count goes on."""
        room = await make_room(store)
        for version in range(1, RULES_KEPT + 3):
            await store.write_rules(room, rules(version))

        assert await store.read_rules(room) == rules(RULES_KEPT + 2)


class ReportContract:
    """Reports, and messages that are held."""

    async def test_reports_are_numbered_in_their_order(self, store: Store) -> None:
        """Each is found again as it was filed."""
        filed = await store.file_reports([report(1), report(2), held("c")])

        assert [(one.report, one.state, one.is_new) for one in filed] == [
            (1, "open", True),
            (2, "open", True),
            (3, "open", True),
        ]
        assert await store.find_report(3) == ReportRow(
            *(3, LOBBY, "lobby", "held", "open", None, AT_MS, AT_MS, "", "", "u_bob", "U_BOB"),
            *("links", "no-links", "c", "buy now", 3, 2, None, None, None, None),
        )
        assert await store.find_report(4) is None
        assert await store.file_reports([]) == []

    async def test_one_report_of_a_user_and_message_waits(self, store: Store) -> None:
        """The second is the first, in a batch or later; another user's is new, as one after the end."""
        first, twin, other = await store.file_reports([report(1), report(1), report(1, "u_cyd")])
        assert (twin.report, twin.is_new) == (first.report, False)
        assert other.is_new

        (again,) = await store.file_reports([report(1, reason="other")])
        assert (again.report, again.state, again.is_new) == (first.report, "open", False)
        await store.move_report(move("dismissed", report=1))
        (fresh,) = await store.file_reports([report(1)])
        assert fresh.is_new

    async def test_so_many_reports_of_a_message_wait(self, store: Store) -> None:
        """Those after them are known already, but for those there are; not of another text or message."""
        crowd = [report(1, f"u_{number}", body="bad") for number in range(WAITING_OF_TEXT_MAX + 1)]

        *filed, left_out = await store.file_reports(crowd)

        assert all(one.is_new for one in filed)
        assert left_out == Filed(None, "known", is_new=False)
        assert await store.file_reports([crowd[-1], crowd[0]]) == [
            Filed(None, "known", is_new=False),
            Filed(1, "open", is_new=False),
        ]
        others = [report(1, "u_x", body="worse"), report(1, "u_y"), report(2, "u_x", body="bad")]
        others.append(report(1, "u_x", body="bad", room=RoomId(2)))
        assert all(one.is_new for one in await store.file_reports(others))
        await store.move_report(move("resolved", report=3))
        assert [one.is_new for one in await store.file_reports(crowd[-1:])] == [True]

    async def test_so_much_of_a_kind_waits_in_a_room(self, store: Store) -> None:
        """Beyond it nothing is filed, also within one call; of other kinds and in other rooms there is."""
        many = [held(f"c{number}") for number in range(WAITING_OF_KIND_MAX + 1)]

        *filed, left_out = await store.file_reports(many)

        assert all(one.is_new for one in filed)
        assert left_out == Filed(None, "full", is_new=False)
        again, other, elsewhere = await store.file_reports(
            [many[0], report(1), many[-1]._replace(room_id=RoomId(2))]
        )
        assert again == Filed(1, "open", is_new=False)
        assert other.is_new
        assert elsewhere.is_new
        await store.move_report(move("rejected", report=1))
        (fresh,) = await store.file_reports(many[-1:])
        assert fresh.is_new

    async def test_a_held_message_is_held_once_for_all(self, store: Store) -> None:
        """Sent again it is where it was, decided or not; another author's cid is another message."""
        (first,) = await store.file_reports([held("c")])
        await store.move_report(move("rejected", report=1))

        again, other = await store.file_reports([held("c"), held("c", author="u_eve")])

        assert (again.report, again.state, again.is_new) == (first.report, "rejected", False)
        assert other.is_new

    async def test_reports_are_listed_by_page(self, store: Store) -> None:
        """Of one room or of all, those that wait or all, the oldest first."""
        await store.file_reports([report(1), report(1, room=RoomId(2)), report(2), report(3)])
        await store.move_report(move("claimed", report=1))
        await store.move_report(move("resolved", report=3))

        assert await waiting(store) == [1, 4]
        assert await waiting(store, after=1) == [4]
        assert await waiting(store, None) == [1, 2, 4]
        everything = await store.list_reports(room_id=LOBBY, waiting=False, after=0, limit=2)
        assert [row.report for row in everything] == [1, 3]
        rest = await store.list_reports(room_id=None, waiting=False, after=2, limit=9)
        assert [row.report for row in rest] == [3, 4]
        assert await store.count_waiting([LOBBY, RoomId(2), RoomId(3)]) == {1: 2, 2: 1, 3: 0}

    async def test_who_looks_does_not_see_what_is_about_himself(self, store: Store) -> None:
        """Pages are full all the same, of one room or of all, of those that wait or all."""
        about_ann = [report(seq, "u_cyd")._replace(author="u_ann") for seq in (2, 3)]
        await store.file_reports([report(1), *about_ann, report(4), held("c"), report(5)])
        await store.move_report(move("resolved", report=5))

        async def seen(room: RoomId | None, after: int = 0, *, waiting: bool = True) -> list[int]:
            rows = await store.list_reports(
                room_id=room, waiting=waiting, after=after, limit=2, not_about="u_ann"
            )
            return [row.report for row in rows]

        for room in (LOBBY, None):
            assert await seen(room) == [1, 4]
            assert await seen(room, 4) == [6]
            assert await seen(room, 1, waiting=False) == [4, 5]
        rows = await store.list_reports(room_id=LOBBY, waiting=True, after=0, limit=9, not_about="u_bob")
        assert [row.report for row in rows] == [2, 3]

    async def test_what_somebody_has_reported_is_listed_by_page(self, store: Store) -> None:
        """In every room, what waits or all, the oldest first; nothing by others, and nothing by rules."""
        noted = report(4, "")._replace(kind="automod", rule="links")
        others = [report(1, "u_cyd"), noted, held("c", author="u_ann")]
        await store.file_reports([report(1), *others, report(1, room=RoomId(2)), report(2), report(3)])
        await store.move_report(move("claimed", report=5))
        await store.move_report(move("resolved", report=6))

        async def own(after: int = 0, *, waiting: bool = True, limit: int = 9) -> list[int]:
            rows = await store.list_own_reports("u_ann", waiting=waiting, after=after, limit=limit)
            return [row.report for row in rows]

        assert await own() == [1, 5, 7]
        assert await own(1, limit=1) == [5]
        assert await own(waiting=False) == [1, 5, 6, 7]
        assert await own(1, waiting=False, limit=2) == [5, 6]
        (row,) = await store.list_own_reports("u_cyd", waiting=True, after=0, limit=9)
        assert row == await store.find_report(2)
        for nobody in ("", "u_bob"):
            assert await store.list_own_reports(nobody, waiting=False, after=0, limit=9) == []

    async def test_a_report_is_claimed_by_one(self, store: Store) -> None:
        """Who has claimed it may again; nobody else may do anything with it, unless it is forced."""
        await store.file_reports([report(1)])
        claimed = await store.move_report(move("claimed"))
        assert claimed is not None
        assert (claimed.state, claimed.holder, claimed.holder_name) == ("claimed", "u_mod", "U_MOD")
        assert claimed.changed_at_ms == AT_MS + 99

        states: tuple[ReportState, ...] = ("claimed", "open", "resolved", "dismissed")
        for to in states:
            assert await store.move_report(move(to, "u_eve")) is None
        assert await store.find_report(1) == claimed
        assert await store.move_report(move("claimed")) == claimed
        taken = await store.move_report(move("claimed", "u_eve", forced=True))
        assert taken is not None
        assert taken.holder == "u_eve"

    async def test_a_report_is_given_back(self, store: Store) -> None:
        """Then it is anybody's; an open one cannot be."""
        await store.file_reports([report(1)])
        assert await store.move_report(move("open")) is None
        await store.move_report(move("claimed"))

        opened = await store.move_report(move("open"))

        assert opened is not None
        assert (opened.state, opened.holder, opened.holder_name) == ("open", None, None)
        assert await store.move_report(move("claimed", "u_eve")) is not None

    async def test_a_closed_report_stays_closed(self, store: Store) -> None:
        """With who closed it, what was said and done; one that nobody claimed may be closed, too."""
        await store.file_reports([report(1)])
        done = move("resolved")._replace(note="banned", audit="lobby:7")

        closed = await store.move_report(done)

        assert closed is not None
        assert (closed.state, closed.holder, closed.note, closed.audit) == (
            *("resolved", "u_mod"),
            *("banned", "lobby:7"),
        )
        assert await store.move_report(move("claimed", forced=True)) is None
        assert await store.move_report(move("open", forced=True)) is None
        assert await store.find_report(1) == closed
        assert await store.move_report(move("claimed", report=9)) is None

    async def test_the_text_of_a_held_message_ends_with_its_wait(self, store: Store) -> None:
        """It is there while it is claimed; then the log has it, or nobody."""
        await store.file_reports([held("c")])
        claimed = await store.move_report(move("claimed"))
        assert claimed is not None
        assert claimed.body == "buy now"

        approved = await store.move_report(move("approved")._replace(seq=12))

        assert approved is not None
        assert (approved.state, approved.seq, approved.body) == ("approved", 12, None)

    async def test_each_report_has_its_own_copy_of_the_text(self, store: Store) -> None:
        """As it was for whoever brought it; the same report again changes nothing."""
        await store.file_reports([report(1, body="bad")])
        await store.file_reports([report(1, "u_cyd", body="fine"), report(1, body="fine")])

        rows = await store.list_reports(room_id=LOBBY, waiting=True, after=0, limit=9)
        assert [(row.reporter, row.body) for row in rows] == [("u_ann", "bad"), ("u_cyd", "fine")]

    @pytest.mark.parametrize("closed", ["resolved", "dismissed"])
    async def test_the_copy_of_a_text_ends_with_the_report(self, store: Store, closed: ReportState) -> None:
        """It is there while somebody has it, and when it is given back; of others it stays."""
        await store.file_reports([report(1, body="bad"), report(2, body="worse")])
        states: tuple[ReportState, ...] = ("claimed", "open", "claimed")
        for to in states:
            moved = await store.move_report(move(to))
            assert moved is not None
            assert moved.body == "bad"

        done = await store.move_report(move(closed))

        assert done is not None
        assert done.body is None
        assert await store.find_report(1) == done
        (other,) = await store.list_reports(room_id=LOBBY, waiting=True, after=0, limit=9)
        assert other.body == "worse"

    async def test_copies_of_texts_grow_old(self, store: Store) -> None:
        """The oldest are erased first, so many at a time; not what is held, nor what is closed or younger."""
        await store.file_reports([report(seq, body="bad") for seq in (3, 1, 2, 4, 9)])
        await store.file_reports([held("c"), report(5)])
        await store.move_report(move("claimed", report=2))
        await store.move_report(move("resolved", report=4))

        async def texts() -> list[str | None]:
            rows = await store.list_reports(room_id=LOBBY, waiting=True, after=0, limit=9)
            return [row.body for row in rows]

        erased = [await store.erase_copies(before_ms=AT_MS + 9, limit=2) for _ in range(3)]

        assert erased == [2, 1, 0]
        assert await texts() == [None, None, None, "bad", "buy now", None]
        row = await store.find_report(2)
        assert row is not None
        assert (row.state, row.changed_at_ms, row.holder) == ("claimed", AT_MS + 99, "u_mod")

    @pytest.mark.parametrize(("kind", "data"), [("delete", '{"of":1}'), ("purge", '{"seqs":[1]}')])
    async def test_a_copy_outlives_the_text_in_the_log(self, store: Store, kind: str, data: str) -> None:
        """While the report waits a deletion and a purge leave it alone: it is evidence."""
        room = await owned_room(store)
        await store.append([message(room, 1, by="u_bob", body="bad")])
        await store.file_reports([report(1, room=room, body="bad")])
        await store.append([changed(room, 2, kind, data, by="u_bob")])

        page = await store.history(room, limit=9)
        assert [item.body for item in page.items] == [None, None]
        row = await store.find_report(1)
        assert row is not None
        assert row.body == "bad"


class RemovedContract:
    """Messages that a rule lets in without their text."""

    async def test_a_message_without_its_text_is_deleted_at_once(self, store: Store) -> None:
        """It has its place; nothing finds it, and the audit says who deleted it: nobody but the server."""
        room = await owned_room(store)
        entry = message(room, 1, by="u_bob")._replace(body=None)
        removal = changed(room, 2, "delete", '{"of":1,"reason":"links"}', by="")
        await store.append([entry])
        await store.append([removal, message(room, 3, by="u_bob")])

        page = await store.history(room, fold_for="u_ann", limit=9)
        assert [item.body for item in page.items] == [None, None, "hello"]
        assert (page.folded[1].body, page.folded[1].delete_seq) == (None, 2)
        await store.index_rooms([room], max_rows=100)
        found = await store.search(
            SearchAsk(query="hello", room="lobby", user_id="u_bob", now_ms=AT_MS, limit=9)
        )
        assert found is not None
        assert [hit.seq for hit in found.items] == [3]
        (row,) = await store.read_audit(room, after=0, limit=9)
        assert (row.actor, row.action, row.target, row.reason) == ("", "delete", "u_bob", "links")
