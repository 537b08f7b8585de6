"""The product: protocol, sessions, rooms, presence and the server that holds them together."""
