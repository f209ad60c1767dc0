"""The REST API: application, commands, interactions, webhooks, messages, attachments (Discord's API, version 10)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web

from .checks import pings_of, problem_of, walk
from .faults import Buckets, Faults, answer, error
from .state import (
    COMPONENTS_V2,
    EPHEMERAL,
    LOADING,
    UNBOOSTED_FILE_BYTES,
    Interaction,
    Payload,
    World,
    now,
    snowflake,
)

MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE, AUTOCOMPLETE, MODAL = 4, 5, 6, 7, 8, 9
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
_EDITED = ("content", "embeds", "components", "flags")


class Rest:
    """The routes; `answer_within_s` and `token_life_s` are the limits of interactions."""

    def __init__(self, world: World, token: str) -> None:
        self.base_url = ""
        self.answer_within_s = 3.0
        self.token_life_s = 900.0
        self.faults = Faults()
        self.buckets = Buckets()
        self._world = world
        self._token = token

    def application(self) -> web.Application:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard], client_max_size=64 << 20)
        app_path, hook = "/api/applications/{app}", "/api/webhooks/{app}/{token}"
        channel = "/api/channels/{channel}/messages"
        app.router.add_get("/api/users/@me", self._me)
        app.router.add_get("/api/users/{user}", self._user)
        app.router.add_post("/api/users/@me/channels", self._private_channel)
        app.router.add_get("/api/oauth2/applications/@me", self._application_info)
        app.router.add_put(app_path + "/commands", self._put_commands)
        app.router.add_post("/api/interactions/{id}/{token}/callback", self._callback)
        app.router.add_post(hook, self._follow_up)
        for method, handler in (("GET", self._get), ("PATCH", self._patch), ("DELETE", self._delete)):
            app.router.add_route(method, hook + "/messages/{message}", self._by_token(handler))
            app.router.add_route(method, channel + "/{message}", self._by_bot(handler))
        app.router.add_post(channel, self._send)
        app.router.add_get("/files/{id}/{name}", self._file)
        return app

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        failure = self.faults.take(request)
        if failure is not None:
            return failure
        if request.path.startswith(("/api/webhooks/", "/api/interactions/")):
            return await handler(request) if "callback" in request.path else await self._limited(request, handler)
        if request.headers.get("Authorization") != f"Bot {self._token}":
            return answer({"message": "401: Unauthorized", "code": 0}, status=401)
        return await self._limited(request, handler) if "/messages" in request.path else await handler(request)

    async def _limited(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        where = request.match_info.get("token") or request.match_info.get("channel")
        headers, refusal = self.buckets.take(f"{request.method.lower()}-messages:{where}")
        response = refusal or await handler(request)
        if refusal is None:
            response.headers.update(headers)
        return response

    async def _me(self, request: web.Request) -> web.Response:
        return answer(self._world.bot)

    async def _user(self, request: web.Request) -> web.Response:
        return answer(self._world.users[int(request.match_info["user"])])

    async def _private_channel(self, request: web.Request) -> web.Response:
        number = self._world.add_private_channel(int((await request.json())["recipient_id"]))
        return answer(self._world.channels[number])

    async def _application_info(self, request: web.Request) -> web.Response:
        info = {"id": str(self._world.application_id), "name": "Photogram", "description": "", "icon": None}
        info |= {"bot_public": True, "bot_require_code_grant": False, "owner": self._world.bot, "verify_key": ""}
        return answer(info)

    async def _put_commands(self, request: web.Request) -> web.Response:
        given = {
            "application_id": str(self._world.application_id),
            "description": "",
            "version": "1",
            "dm_permission": True,
        }
        self._world.commands = [{"id": str(snowflake())} | given | command for command in await request.json()]
        return answer(self._world.commands)

    async def _callback(self, request: web.Request) -> web.Response:
        interaction = self._world.interactions.get(request.match_info["token"])
        if interaction is None or self._world.time() - interaction.created_at > self.answer_within_s:
            return error(10062)
        if interaction.response_type is not None:
            return error(40060)
        body, files = await _body(request)
        data = body.get("data") or {}
        kind = body["type"]
        if kind in (MESSAGE, DEFERRED_MESSAGE):
            refusal = self._respond(interaction, kind, data, files)
            if refusal is not None:
                return refusal
        if kind in (DEFERRED_UPDATE, UPDATE):
            interaction.message_id = int(interaction.payload["message"]["id"])
        interaction.response_type = kind
        interaction.modal = data if kind == MODAL else None
        interaction.choices = data.get("choices") if kind == AUTOCOMPLETE else None
        return self._called_back(interaction)

    def _respond(self, interaction: Interaction, kind: int, data: Payload, files: list[Payload]) -> web.Response | None:
        flags = data.get("flags", 0) | (LOADING if kind == DEFERRED_MESSAGE else 0)
        message = self._new_message(interaction, flags)
        interaction.message_id = int(message["id"])
        return None if kind == DEFERRED_MESSAGE else self._change(message, data, files)

    def _new_message(self, interaction: Interaction, flags: int) -> Payload:
        payload = interaction.payload
        user = payload.get("user") or payload["member"]["user"]
        metadata = {"id": str(interaction.id), "type": payload["type"], "user": user}
        metadata["authorizing_integration_owners"] = payload["authorizing_integration_owners"]
        flags |= EPHEMERAL if interaction.is_hidden else 0
        return self._world.new_message(
            int(payload["channel_id"]), self._world.bot, flags=flags, interaction_metadata=metadata,
            application_id=str(self._world.application_id), webhook_id=str(self._world.application_id), type=20,
        )  # fmt: skip

    def _called_back(self, interaction: Interaction) -> web.Response:
        called: Payload = {"interaction": {"id": str(interaction.id), "type": interaction.payload["type"]}}
        message = self._world.messages.get(interaction.message_id or 0)
        if message is not None and interaction.response_type in (MESSAGE, DEFERRED_MESSAGE):
            called["interaction"]["response_message_id"] = message["id"]
            called["resource"] = {"type": interaction.response_type, "message": message}
        return answer(called)

    async def _follow_up(self, request: web.Request) -> web.Response:
        interaction = self._alive(request)
        if interaction is None:
            return error(50027)
        body, files = await _body(request)
        message = self._new_message(interaction, body.get("flags", 0))
        refusal = self._change(message, body, files)
        return answer(message) if refusal is None else refusal

    def _alive(self, request: web.Request) -> Interaction | None:
        interaction = self._world.interactions.get(request.match_info["token"])
        if interaction is None or self._world.time() - interaction.created_at >= self.token_life_s:
            return None
        return interaction

    def _by_token(self, handler: Callable[..., Awaitable[web.Response]]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            interaction = self._alive(request)
            if interaction is None:
                return error(50027)
            name = request.match_info["message"]
            number = (interaction.message_id or 0) if name == "@original" else int(name)
            message = self._world.messages.get(number)
            return error(10008) if message is None else await handler(request, message)

        return handle

    def _by_bot(self, handler: Callable[..., Awaitable[web.Response]]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            if int(request.match_info["channel"]) in self._world.forbidden_channels:
                return error(50001)
            message = self._world.messages.get(int(request.match_info["message"]))
            is_hidden = message is None or message["flags"] & EPHEMERAL
            return error(10008) if message is None or is_hidden else await handler(request, message)

        return handle

    async def _get(self, request: web.Request, message: Payload) -> web.Response:
        return answer(message)

    async def _patch(self, request: web.Request, message: Payload) -> web.Response:
        body, files = await _body(request)
        refusal = self._change(message, body, files)
        if refusal is not None:
            return refusal
        message["edited_timestamp"] = now()
        self._world.edits[int(message["id"])].append(time.monotonic())
        return answer(message)

    async def _delete(self, request: web.Request, message: Payload) -> web.Response:
        del self._world.messages[int(message["id"])]
        return web.Response(status=204)

    async def _send(self, request: web.Request) -> web.Response:
        channel = int(request.match_info["channel"])
        if channel in self._world.forbidden_channels:
            return error(50001)
        body, files = await _body(request)
        message = self._world.new_message(channel, self._world.bot, flags=body.get("flags", 0))
        refusal = self._change(message, body, files)
        return answer(message) if refusal is None else refusal

    async def _file(self, request: web.Request) -> web.Response:
        data = self._world.files.get(request.match_info["id"])
        return web.Response(status=404) if data is None else web.Response(body=data)

    def _change(self, message: Payload, body: Payload, files: list[Payload]) -> web.Response | None:
        """Apply an edit as Discord does, or return the refusal and change nothing."""
        if any(len(each["data"]) > UNBOOSTED_FILE_BYTES for each in files):
            return error(40005)
        kept_flags = message["flags"] & ~LOADING | body.get("flags", 0) & COMPONENTS_V2
        changed = message | {name: body[name] for name in _EDITED if body.get(name) is not None}
        changed["flags"] = kept_flags
        if "attachments" in body or files:
            kept = {str(each["id"]) for each in body.get("attachments", [])}
            changed["attachments"] = [each for each in message["attachments"] if each["id"] in kept]
            changed["attachments"] += [self.add_file(each["name"], each["data"]) for each in files]
        problem = problem_of(changed)
        if problem is not None:
            return error(50035, problem)
        changed["components"] = self._resolved(changed)
        message.update(changed)
        self._world.pings += pings_of(message, body.get("allowed_mentions"))
        return None

    def add_file(self, name: str, data: bytes, media_type: str = "image/png") -> Payload:
        """Store a file and return its attachment."""
        number = str(snowflake())
        self._world.files[number] = data
        url = f"{self.base_url}/files/{number}/{name}"
        return {"id": number, "filename": name, "size": len(data), "url": url, "proxy_url": url,
                "content_type": media_type}  # fmt: skip

    def _resolved(self, message: Payload) -> list[Payload]:
        """The components with ids, and with the addresses of the attachments in their galleries."""
        components: list[Payload] = json.loads(json.dumps(message["components"]))
        attached = {each["filename"]: each for each in message["attachments"]}
        for number, component in enumerate(walk(components), 1):
            component.setdefault("id", number)
            for item in component.get("items", []):
                name = re.sub("^attachment://", "", item["media"]["url"])
                if name in attached:
                    each = attached[name]
                    item["media"] = {"url": each["url"], "proxy_url": each["url"], "attachment_id": each["id"]}
        return components


async def _body(request: web.Request) -> tuple[Payload, list[Payload]]:
    """The JSON of a request, and its files."""
    if not request.content_type.startswith("multipart/"):
        return await request.json(), []
    body: Payload = {}
    files = []
    async for part in await request.multipart():
        data = await part.read(decode=True)
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            files.append({"name": part.filename, "data": data})
    return body, files
