// A chat server on ws: rooms in a Map, each message made into one frame that every member's socket gets.
//
//     node ws_server.js        prints "port N" and serves on 127.0.0.1 until it is killed
//
// Plain as users write it, and quick as they can make it: a frame is built once for a room, not once for a member,
// through the sender of the socket, the way Engine.IO does it.
"use strict";

const { WebSocketServer, WebSocket } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, clientTracking: false });

function broadcast(members, message) {
  const payload = Buffer.from(JSON.stringify(message));
  const parts = WebSocket.Sender.frame(payload, { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false });
  const frame = [Buffer.concat(parts)];
  for (const member of members) {
    if (member.readyState === WebSocket.OPEN) {
      member._sender.sendFrame(frame);
    }
  }
}

function join(socket, { room, name }) {
  let members = rooms.get(room);
  if (members === undefined) {
    members = new Set();
    rooms.set(room, members);
  }
  members.add(socket);
  socket.on("close", () => {
    members.delete(socket);
    if (members.size === 0) {
      rooms.delete(room);
    }
  });
  socket.chat = { room, name, members };
  socket.send(JSON.stringify({ type: "joined", room }));
}

server.on("connection", (socket) => {
  socket.chat = null;
  socket.on("error", (error) => console.error(error.message));
  socket.on("message", (data) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      message = {};
    }
    if (message.type === "join" && socket.chat === null) {
      join(socket, message);
    } else if (message.type === "message" && socket.chat !== null) {
      const { room, name, members } = socket.chat;
      broadcast(members, { type: "message", room, by: name, body: message.body });
    } else {
      socket.send(JSON.stringify({ type: "error", reason: "join first, then send messages" }));
    }
  });
});

server.on("listening", () => console.log(`port ${server.address().port}`));
