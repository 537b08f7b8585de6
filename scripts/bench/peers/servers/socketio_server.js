// A chat server on Socket.IO: its rooms, its in-memory adapter, its acknowledgements, WebSocket transport only.
//
//     node socketio_server.js        prints "port N" and serves on 127.0.0.1 until it is killed
//
// Tuned as its documentation advises: the native add-on of ws is installed beside it, and the first request of a
// connection is not kept.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.engine.on("connection", (raw) => {
  raw.request = null;
});

io.on("connection", (socket) => {
  socket.on("join", ({ room, name }, acknowledge) => {
    socket.data.room = room;
    socket.data.name = name;
    socket.join(room);
    acknowledge({ room });
  });
  socket.on("message", ({ body }, acknowledge) => {
    const { room, name } = socket.data;
    io.to(room).emit("message", { room, by: name, body });
    acknowledge();
  });
});

http.listen(0, "127.0.0.1", 4096, () => console.log(`port ${http.address().port}`));
