"""What goes wrong on the side of Discord or of the server, and what people then see."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from photogram_discord import PhotogramBot, follower, listings

from tests.clients.discord.conftest import BotRig
from tests.clients.discord.test_drawing import finished, is_over, says
from tests.clients.wire_server import PNG, WireServer, problem
from tests.discord_standin import DiscordStandIn, Person
from tests.discord_standin.people import gallery_of, is_ephemeral, labels_of, text_of
from tests.discord_standin.state import Payload

LARGE_PNG = b"\x89PNG" + bytes(10 << 20)
JPEG = b"\xff\xd8 a smaller file"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bot tries again at once."""
    monkeypatch.setattr(follower, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(follower, "EDIT_EVERY_S", 0.01)


def breaks() -> Response:
    return problem(500, "internal_error", "it broke")


def private_messages(discord: DiscordStandIn, person: Person) -> list[Payload]:
    channel = str(discord.world.add_private_channel(person.id))
    return [each for each in discord.world.messages.values() if each["channel_id"] == channel]


async def test_a_job_that_ended_while_the_bot_was_down_is_delivered_and_not_drawn_twice(
    discord: DiscordStandIn, rig: BotRig, server: WireServer
):
    server.step_s = 0.1
    await rig.start()
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat")
    await discord.until(lambda: server.records)
    await rig.stop()
    [record] = server.records.values()
    await discord.until(lambda: record.is_final)
    discord.pass_time()
    await rig.start()

    message = await ada.sees(interaction, is_over)
    assert gallery_of(message) and [*server.records.values()] == [record]


async def test_the_sixteenth_minute_is_edited_by_the_bots_own_token(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    server.step_s = 0.3
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat")
    await ada.sees(interaction, says("Waiting"))
    discord.pass_time()
    assert gallery_of(await ada.sees(interaction, is_over))


async def test_a_cut_connection_is_resumed_and_loses_no_command(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    discord.rest.answer_within_s = 30.0  # discord.py waits for some seconds before it connects again
    await discord.gateway.drop()
    ada = discord.person("ada")
    _, message = await finished(ada, "imagine", prompt="a cat")
    assert gallery_of(message)
    assert (discord.gateway.resumes, len(discord.gateway.identifies)) == (1, 1)


async def test_failures_of_discord_are_tried_again(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    discord.rest.faults.order("PATCH /api/webhooks", 502)
    ada = discord.person("ada")
    _, message = await finished(ada, "imagine", prompt="a cat")
    assert gallery_of(message) and not discord.rest.faults.ordered


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("failure", [503, 0], ids=["an error", "a broken connection"])
async def test_a_result_is_shown_again_until_discord_takes_it(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, failure: int
):
    server.step_s = 0.1
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat")
    await ada.sees(interaction, says("Waiting"))
    discord.rest.faults.order("PATCH /api/channels", failure, times=6)
    discord.pass_time()
    message = await ada.sees(interaction, is_over)
    assert gallery_of(message) and not discord.rest.faults.ordered and len(server.records) == 1


async def test_a_result_that_is_too_large_for_a_message_is_shown_as_jpeg(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    files = [LARGE_PNG, JPEG, LARGE_PNG, LARGE_PNG]
    server.images_answer = lambda: Response(files.pop(0), media_type="image/png")
    ada = discord.person("ada")
    _, message = await finished(ada, "imagine", prompt="a cat")
    [attachment] = message["attachments"]
    assert attachment["filename"].endswith(".jpg") and discord.world.files[attachment["id"]] == JPEG
    _, message = await finished(ada, "upscale", image=PNG, scale=8.0)
    assert "10 MB, which is too large" in text_of(message) and not gallery_of(message)


async def test_a_hidden_message_that_only_the_token_reaches_is_replaced_by_a_private_one(
    discord: DiscordStandIn, rig: BotRig, server: WireServer
):
    server.step_s = 0.1
    await rig.start()
    ada = discord.person("ada")
    ada.is_hidden = True
    interaction = await ada.slash("imagine", prompt="a cat")
    assert is_ephemeral(await ada.sees(interaction, says("Waiting")))
    await discord.until(lambda: server.records)
    await rig.stop()
    await rig.start()
    await discord.until(lambda: private_messages(discord, ada))
    [message] = private_messages(discord, ada)
    assert is_over(message) and gallery_of(message) and len(server.records) == 1


async def test_a_request_that_had_not_begun_before_a_restart_is_answered(
    discord: DiscordStandIn, rig: BotRig, server: WireServer
):
    bot = await rig.start()
    server.delay_s = 30.0
    ada = discord.person("ada")
    interaction = await ada.slash("assist", request="a cat")
    await discord.until(lambda: bot.store.opened())
    await rig.stop()
    server.delay_s = 0.0
    bot = await rig.start()
    await ada.sees(interaction, says("I was restarted"))
    assert not server.records and not bot.store.opened() and not bot.store.used_today(f"user:{ada.id}")


@pytest.mark.parametrize("count", [1, 2])
async def test_a_result_that_was_shown_before_a_restart_stays_in_its_message(
    discord: DiscordStandIn, rig: BotRig, server: WireServer, count: int
):
    bot = await rig.start()
    _, message = await finished(discord.person("ada"), "imagine", prompt="a cat", count=count)
    await discord.until(lambda: not bot.store.pending())
    drawing = bot.store.drawing(message["attachments"][0]["filename"].rpartition("-")[0])
    assert drawing is not None
    bot.store.save(drawing, is_pending=True)  # as after a kill before this was noted
    await rig.stop()
    before, edits = labels_of(message), discord.world.edits[int(message["id"])]
    edits.clear()
    bot = await rig.start()
    await discord.until(lambda: not bot.store.pending())
    assert len(edits) == 1 and labels_of(message) == before  # the result once more, and no progress before it


@pytest.mark.usefixtures("impatient")
async def test_cancel_holds_while_the_server_does_not_answer(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    server.outcome = "never"
    server.answer_next(*[breaks] * 10_000)
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat", count=2)
    pressed = await ada.press(await ada.sees(interaction, says("does not answer")), "Cancel")
    assert pressed.response_type == 6
    over = await ada.sees(interaction, says("Canceled"))
    assert labels_of(over) == ["Reroll", "Delete"]

    server.answers.clear()
    asked = len(server.calls("POST", "/v1/jobs/"))
    await discord.until(lambda: len(server.calls("POST", "/v1/jobs/")) >= asked + 2)
    assert not any(record.job["status"] == "running" for record in server.records.values())


async def test_buttons_explain_what_goes_wrong(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    ada = discord.person("ada")
    _, message = await finished(ada, "imagine", prompt="a cat")
    server.answer_next(lambda: problem(404, "job_not_found", "gone"))
    pressed = await ada.press(message, "Upscale")
    await ada.sees(pressed, says("no longer has that"))

    bot.store.delete(message["attachments"][0]["filename"].rpartition("-")[0])
    forgotten = await ada.press(message, "Reroll")
    assert is_ephemeral(await ada.sees(forgotten, says("no longer know this image")))


async def test_an_unknown_failure_is_explained_and_logged(
    discord: DiscordStandIn, bot: PhotogramBot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(scope: str) -> dict[str, object]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(bot.store, "settings", broken)
    ada = discord.person("ada")
    assert is_ephemeral(await ada.sees(await ada.slash("settings show"), says("Something went wrong")))
    assert "a bug" in caplog.text


async def test_a_slow_server_is_waited_for(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    server.delay_s = 0.3
    _, message = await finished(discord.person("ada"), "edit", image=PNG, prompt="a hat")
    assert gallery_of(message)


async def test_choices_that_come_too_late_are_offered_the_next_time(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listings, "TIMEOUT_S", 0.01)
    server.delay_s = 0.3
    ada = discord.person("ada")
    assert await ada.suggestions("imagine", "model", "") == []
    monkeypatch.setattr(listings, "TIMEOUT_S", 20.0)
    assert await ada.suggestions("imagine", "model", "hou") == ["house"]
    assert len(server.calls("GET", "/v1/models")) == 1


async def test_choices_of_a_server_that_fails_are_asked_for_again(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    server.answer_next(breaks)
    ada = discord.person("ada")
    assert await ada.suggestions("imagine", "model", "") == []
    assert await ada.suggestions("imagine", "model", "hou") == ["house"]


async def test_an_interaction_that_discord_gave_up_starts_no_job(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, caplog: pytest.LogCaptureFixture
):
    discord.rest.answer_within_s = 0.0
    ada = discord.person("ada")
    asking = asyncio.create_task(ada.slash("imagine", prompt="a cat"))
    await discord.until(lambda: "cannot be answered" in caplog.text)
    asking.cancel()
    assert not server.records


async def test_an_interaction_that_comes_twice_is_answered_once(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, caplog: pytest.LogCaptureFixture
):
    server.delay_s = 0.2
    ada = discord.person("ada")
    interaction = await ada.slash("edit", image=PNG, prompt="a cat")
    await discord.until(bot.store.opened)
    await discord.gateway.send("INTERACTION_CREATE", interaction.payload)
    await discord.until(lambda: "cannot be answered" in caplog.text)
    assert [number for number, _, _ in bot.store.opened()] == [interaction.id]
    await ada.sees(interaction, is_over)
    assert len(server.records) == 1 and "went wrong" not in caplog.text and "Traceback" not in caplog.text


async def test_delete_of_a_message_that_is_gone_is_no_failure(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, caplog: pytest.LogCaptureFixture
):
    ada = discord.person("ada")
    _, message = await finished(ada, "imagine", prompt="a cat")
    del discord.world.messages[int(message["id"])]
    await ada.press(message, "Delete")
    await discord.until(lambda: bot.store.drawing(message["attachments"][0]["filename"].rpartition("-")[0]) is None)
    assert "an interaction failed" not in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_does_not_answer_is_asked_again(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    server.answer_next(breaks, breaks)
    ada = discord.person("ada")
    interaction = await ada.slash("imagine", prompt="a cat")
    await ada.sees(interaction, says("does not answer"))
    assert gallery_of(await ada.sees(interaction, is_over)) and len(server.records) == 1


async def test_a_failed_job_says_why(discord: DiscordStandIn, bot: PhotogramBot, server: WireServer):
    server.outcome = "failed"
    _, message = await finished(discord.person("ada"), "imagine", prompt="a cat")
    assert "the image is too large for this device" in text_of(message)


async def test_refused_parameters_are_named_in_bold_letters(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    errors = [{"field": "params.model", "message": "there is no *model* x"}]
    server.answer_next(lambda: problem(422, "invalid_params", "the parameters are out of bounds", errors=errors))
    _, message = await finished(discord.person("ada"), "imagine", prompt="a cat", model="x")
    assert r"**model**: there is no \*model\* x" in text_of(message)


async def test_words_are_refused_soon_without_a_language_model(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer
):
    passing = problem(503, "language_unavailable", "no engine", headers={"Retry-After": "0"})
    server.answer_next(*[lambda: passing] * 9)
    ada = discord.person("ada")
    await ada.sees(await ada.slash("assist", request="a cat"), says("no language model"))
    assert len(server.calls("POST", "/v1/assist")) == 2


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda: problem(401, "unauthorized", "unknown key 0x"), "does not know the API key"),
        (lambda: problem(422, "no_proposal", "no tool call"), "Other words may help"),
        (lambda: problem(503, "language_unavailable", "off"), "no language model"),
        (lambda: problem(402, "quota_exceeded", "10 of 10 units"), "used up what it may generate"),
        (lambda: problem(413, "body_too_large", "67108864"), "too large for the image server"),
        (lambda: JSONResponse({"hello": "world"}), "Something went wrong"),
    ],
)
async def test_refusals_of_the_server_are_explained(
    discord: DiscordStandIn, bot: PhotogramBot, server: WireServer, answer: object, sentence: str
):
    server.answer_next(answer)
    ada = discord.person("ada")
    interaction = await ada.slash("assist", request="a cat")
    assert sentence in text_of(await ada.sees(interaction, says(sentence)))
