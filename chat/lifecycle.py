"""How a server starts and how it ends, each in order.

Start: ports, database, presence, rooms, writers, transport; then clients are let in. End, in `drain_s` at
most: no new connections and no more reading; what rooms hold is ordered, what writers hold is stored, and
every `ok` leaves; `bye` to everybody, in batches; the actors end; and what the last of them still ordered is
stored too, so that nobody saw an event that the next start would have to take back.
"""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from random import Random
from typing import Final

import structlog
import trio

from actors import open_system
from chat.config import Config
from chat.errors import CloseCode
from chat.front import Addresses, Front, open_front
from chat.garbage import gc_tune, gc_watch
from chat.node import Node
from chat.node_figures import publish_database
from chat.open_store import open_store, wall_clock_ms
from chat.session import Session
from storage import Store

log = structlog.stdlib.get_logger("chat.server")

POLL_S: Final = 0.01
STORE_SHARE: Final = 0.5
"""The part of `drain_s` in which what was taken is stored and answered."""
BYE_SHARE: Final = 0.7
"""Until then `bye` is said in batches; who is left hears it at once."""
CUT_SHARE: Final = 0.8
"""Until then clients may answer the close; who has not is cut off."""
ACTORS_SHARE: Final = 0.95
"""Until then actors may finish; what they ordered last is stored in what is left."""
PLAIN_S: Final = 1.0
"""For connections without a session (HTTP, a handshake under way), once everybody else has gone."""
ABORTED_S: Final = 0.05
"""For connections that were aborted to notice it, before the rest is cancelled."""
RETURNS_PER_S: Final = 1000
"""So many clients a second are asked to come back after a stop: what one core welcomes with ease."""


async def serve(
    config: Config,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set, then drain and return; started when clients can connect.

    Raises:
        CannotListen: a port cannot be had; nothing was started.
        StorageError: the database cannot be had.

    Cancellation: connections are closed at once; what was answered `ok` is stored.
    """
    async with open_front(config) as front, open_store(config) as (store, where):
        publish_database(front.metrics, store.statistics)
        await _serve(config, front, store, where, stop=stop, task_status=task_status)


async def serve_store(
    config: Config,
    store: Store,
    where: str,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve`, on a store that is open already.

    Args:
        config: the settings.
        store: stays the caller's.
        where: the store in words, for people.
        stop: set to drain and return.
        task_status: started when clients can connect.
    """
    async with open_front(config) as front:
        await _serve(config, front, store, where, stop=stop, task_status=task_status)


async def _serve(
    config: Config,
    front: Front,
    store: Store,
    where: str,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[Addresses],
) -> None:
    metrics = front.metrics
    rng = Random()  # noqa: S311  spreads load, guards nothing
    async with open_system(observer=metrics.turns, rng=rng) as system, trio.open_nursery() as nursery:
        node = Node(
            config,
            store,
            system,
            metrics=metrics,
            readiness=front.readiness,
            now_ms=wall_clock_ms,
            rng=rng,
            random_bytes=os.urandom,
        )
        await nursery.start(node.run)
        listeners = front.listen(node.transport)
        with gc_tune() if config.gc_tune else nullcontext(), gc_watch(metrics.gc_pause_s.observe):
            connections = await nursery.start(hold_connections)
            async with trio.open_nursery() as accepting:
                await accepting.start(
                    partial(
                        trio.serve_listeners,
                        node.gateway.handle,
                        list(listeners),
                        handler_nursery=connections,
                    )
                )
                front.readiness.started()
                task_status.started(front.addresses(where))
                accepting.start_soon(_stop_when_asked, node.drain_asked, stop)
                await stop.wait()
                # Before the listeners close: who asks at this moment is told why.
                front.readiness.drain()
                accepting.cancel_scope.cancel()
            await end_in_order(node, connections)
        nursery.cancel_scope.cancel()
    log.info("server.stopped")


async def _stop_when_asked(asked: trio.Event, stop: trio.Event) -> None:
    """Let an admin's word count as a signal."""
    await asked.wait()
    stop.set()


async def hold_connections(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Run connections, in the nursery that `task_status` gives, until its scope is cancelled.

    In a task of its own, so that who cancels the connections is not cancelled with them.
    """
    async with trio.open_nursery() as connections:
        task_status.started(connections)
        await trio.sleep_forever()


async def end_in_order(node: Node, connections: trio.Nursery) -> None:
    """End a running node within its `drain_s`: store what was taken, say `bye`, close, end the actors.

    Args:
        node: nothing connects to it any more.
        connections: see `hold_connections`; none is left in it afterwards.

    What cannot be stored in time is logged as an error: its senders got no `ok` and will send it again.

    Cancellation: connections are closed without what is not stored yet being answered; nothing that was
    answered `ok` is lost.
    """
    drain_s = node.config.drain_s
    began_s = trio.current_time()
    node.readiness.drain()
    log.info("server.draining", connections=len(node.sessions))
    with trio.move_on_at(began_s + drain_s * STORE_SHARE):
        await _store_what_was_taken(node)
    await _say_bye(node, connections, began_s=began_s)
    left_s = began_s + drain_s * ACTORS_SHARE - trio.current_time()
    await node.system.shutdown(deadline_s=max(left_s, POLL_S))
    # Only now nothing can be ordered any more: a look-up for a re-sent message may have ended late.
    left_s = began_s + drain_s - trio.current_time()
    rows = await node.writers.flush(timeout_s=max(left_s, 0.0))
    left_s = began_s + drain_s - trio.current_time()
    reads = await node.reads.flush(timeout_s=max(left_s, 0.0))
    if rows or reads:
        log.error("server.not_stored", rows=rows, reads=reads)


async def _store_what_was_taken(node: Node) -> None:
    """Read no more, and return when everything that was read is ordered, stored and answered."""
    # Twice: a receipt may give a room one more thing to do (a join that was stored is answered).
    for _ in range(2):
        for session in node.sessions:
            session.quiesce()
        # Polled: an event for every mailbox that runs empty would be paid for by every message.
        while node.rooms.group.statistics().depth:  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        await node.writers.flush(timeout_s=node.config.drain_s)
        await node.reads.flush(timeout_s=node.config.drain_s)


async def _say_bye(node: Node, connections: trio.Nursery, *, began_s: float) -> None:
    """Tell every session, also those that were on their way in, and return when no connection is left."""
    config = node.config
    batches_until_s = began_s + config.drain_s * BYE_SHARE
    cut_s = began_s + config.drain_s * CUT_SHARE
    told: dict[str, Session] = {}
    spread_s = len(node.sessions) / RETURNS_PER_S
    plain_until_s = trio.current_time() + PLAIN_S
    while connections.child_tasks:
        for session in node.sessions:
            if session.session_id in told:
                continue
            told[session.session_id] = session
            retry_after_s = config.bye_retry_after_s + node.rng.uniform(0, spread_s)
            session.end(CloseCode.SHUTDOWN, "the server is stopping", retry_after_s)
            if not len(told) % config.drain_batch and trio.current_time() < batches_until_s:
                await trio.sleep(config.drain_interval_s)
        now_s = trio.current_time()
        closing = [session for session in told.values() if session.stream.close_cause is None]
        if closing or node.sessions:
            # Not sooner: a close that is under way needs its connection's tasks.
            plain_until_s = min(now_s + PLAIN_S, cut_s)
        if now_s >= cut_s or now_s >= plain_until_s:
            await _cut(closing, connections)
            return
        await trio.sleep(POLL_S)


async def _cut(closing: Sequence[Session], connections: trio.Nursery) -> None:
    """End the connections that are left, without waiting for their clients."""
    log.info("server.connections_cut", connections=len(connections.child_tasks), closing=len(closing))
    for session in closing:
        session.stream.abort()
    with trio.move_on_after(ABORTED_S):
        while connections.child_tasks:  # noqa: ASYNC110  a nursery tells nobody that it is empty
            await trio.sleep(POLL_S)
    connections.cancel_scope.cancel()
    while connections.child_tasks:  # noqa: ASYNC110  as above; the gateway closes in bounded time
        await trio.sleep(POLL_S)
