"""What a program needs to run a server of its own: `serve`, or `serve_store` on a store that it has."""

from chat.front import Addresses, CannotListen
from chat.lifecycle import serve, serve_store
from chat.node import Node
from chat.open_store import open_store, wall_clock_ms

__all__ = ["Addresses", "CannotListen", "Node", "open_store", "serve", "serve_store", "wall_clock_ms"]
