"""The bot's own small database: drawings, settings and each user's use; it outlives restarts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .drawing import Drawing

_TABLES = """
CREATE TABLE IF NOT EXISTS drawings (id TEXT PRIMARY KEY, body TEXT NOT NULL, is_pending INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS opened (interaction INTEGER PRIMARY KEY, channel INTEGER, message INTEGER);
CREATE TABLE IF NOT EXISTS settings (scope TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS usage (scope TEXT, day TEXT, images INTEGER NOT NULL, PRIMARY KEY (scope, day));
"""


class Store:
    """Opened once for each process; each method is one short transaction."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "bot.sqlite3"
        path.touch(mode=0o600)  # it has the API keys of guilds
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        self._database.close()

    def open(self, interaction: int, channel: int, message: int) -> None:
        """Remember the message in which `interaction` waits for its drawing to begin, until `close_opened`."""
        self._database.execute("INSERT INTO opened VALUES (?, ?, ?)", (interaction, channel, message))

    def close_opened(self, interaction: int) -> None:
        self._database.execute("DELETE FROM opened WHERE interaction = ?", (interaction,))

    def opened(self) -> list[tuple[int, int, int]]:
        """Interaction, channel and message of each drawing that had not begun when the bot stopped."""
        return self._database.execute("SELECT interaction, channel, message FROM opened").fetchall()

    def save(self, drawing: Drawing, *, is_pending: bool) -> None:
        """Insert or replace a drawing; a pending one is taken up again after a restart."""
        values = (drawing.id, drawing.to_json(), is_pending)
        self._database.execute("INSERT OR REPLACE INTO drawings VALUES (?, ?, ?)", values)

    def drawing(self, drawing_id: str) -> Drawing | None:
        row = self._database.execute("SELECT body FROM drawings WHERE id = ?", (drawing_id,)).fetchone()
        return None if row is None else Drawing.from_json(row[0])

    def delete(self, drawing_id: str) -> None:
        self._database.execute("DELETE FROM drawings WHERE id = ?", (drawing_id,))

    def pending(self) -> list[Drawing]:
        """The drawings whose messages do not show an end yet, the oldest first."""
        rows = self._database.execute("SELECT body FROM drawings WHERE is_pending ORDER BY rowid").fetchall()
        return [Drawing.from_json(row[0]) for row in rows]

    def settings(self, scope: str) -> dict[str, Any]:
        """The settings of `user:<id>` or `guild:<id>`; empty if there are none."""
        row = self._database.execute("SELECT body FROM settings WHERE scope = ?", (scope,)).fetchone()
        return {} if row is None else dict(json.loads(row[0]))

    def change_settings(self, scope: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set the keys in `changes`, remove those that are None, and return all settings of `scope`."""
        settings = {key: value for key, value in {**self.settings(scope), **changes}.items() if value is not None}
        self._database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (scope, json.dumps(settings)))
        return settings

    def used_today(self, scope: str) -> int:
        """Images that `scope` requested since midnight, UTC."""
        row = self._database.execute(
            "SELECT images FROM usage WHERE scope = ? AND day = ?", (scope, _today())
        ).fetchone()
        return 0 if row is None else int(row[0])

    def count_use(self, scope: str, images: int) -> None:
        """Add `images`, which may be negative, to what `scope` requested today, and forget earlier days."""
        self._database.execute("DELETE FROM usage WHERE day < ?", (_today(),))
        statement = "INSERT INTO usage VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET images = images + excluded.images"
        self._database.execute(statement, (scope, _today(), images))


def user_scope(user_id: int) -> str:
    return f"user:{user_id}"


def guild_scope(guild_id: int) -> str:
    return f"guild:{guild_id}"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
