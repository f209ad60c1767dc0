"""The gateway: hello, identify, resume, heartbeats and events over a WebSocket (Discord's API, version 10)."""

from __future__ import annotations

import asyncio
import itertools
import uuid

from aiohttp import WSCloseCode, WSMsgType, web

from .state import Payload, World

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 0, 1, 2, 6, 7, 9, 10, 11


class Gateway:
    """One session at a time; events that a dropped connection missed are sent again when it is resumed."""

    def __init__(self, world: World, token: str) -> None:
        self.url = ""
        self.heartbeat_interval_ms = 41250
        self.identifies: list[Payload] = []
        self.resumes = 0
        self.heartbeats = 0
        self.ready = asyncio.Event()
        self._world = world
        self._token = token
        self._session = ""
        self._sequence = itertools.count(1)
        self._events: list[Payload] = []
        self._socket: web.WebSocketResponse | None = None

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": HELLO, "d": {"heartbeat_interval": self.heartbeat_interval_ms}})
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await self._received(socket, message.json())
        if self._socket is socket:
            self._socket = None
            self.ready.clear()
        return socket

    async def send(self, name: str, data: Payload) -> None:
        """Dispatch an event; without a connection it waits for the session to be resumed."""
        event = {"op": DISPATCH, "t": name, "s": next(self._sequence), "d": data}
        self._events.append(event)
        if self._socket is not None and not self._socket.closed:
            await self._socket.send_json(event)

    async def drop(self) -> None:
        """Cut the connection, as a failure of the network does; the client resumes its session."""
        await self._close(WSCloseCode.GOING_AWAY)

    async def request_reconnect(self) -> None:
        assert self._socket is not None
        await self._socket.send_json({"op": RECONNECT, "d": None})

    async def invalidate(self) -> None:
        """End the session; the client has to identify anew."""
        assert self._socket is not None
        self._session = ""
        await self._socket.send_json({"op": INVALID_SESSION, "d": False})

    async def close(self) -> None:
        await self._close(WSCloseCode.OK)

    async def _close(self, code: int) -> None:
        socket, self._socket = self._socket, None
        self.ready.clear()
        if socket is not None:
            await socket.close(code=code)

    async def _received(self, socket: web.WebSocketResponse, message: Payload) -> None:
        if message["op"] == HEARTBEAT:
            self.heartbeats += 1
            await socket.send_json({"op": HEARTBEAT_ACK})
        elif message["op"] == IDENTIFY:
            await self._identify(socket, message["d"])
        elif message["op"] == RESUME:
            await self._resume(socket, message["d"])

    async def _identify(self, socket: web.WebSocketResponse, data: Payload) -> None:
        self.identifies.append(data)
        if data["token"] != self._token:
            await socket.close(code=4004)
            return
        self._socket, self._session, self._events = socket, uuid.uuid4().hex, []
        application = {"id": str(self._world.application_id), "flags": 0}
        ready = {"v": 10, "user": self._world.bot, "session_id": self._session, "resume_gateway_url": self.url}
        guild = {"id": str(self._world.guild_id), "unavailable": True}
        await self.send("READY", ready | {"guilds": [guild], "application": application, "private_channels": []})
        await self.send("GUILD_CREATE", self._world.guild())
        self.ready.set()

    async def _resume(self, socket: web.WebSocketResponse, data: Payload) -> None:
        if not self._session or data["session_id"] != self._session:
            await socket.send_json({"op": INVALID_SESSION, "d": False})
            return
        self.resumes += 1
        self._socket = socket
        for event in [event for event in self._events if event["s"] > data["seq"]]:
            await socket.send_json(event)
        await self.send("RESUMED", {})
        self.ready.set()
