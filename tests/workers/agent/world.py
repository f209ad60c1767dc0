"""A world with an API key that agents work for, a worker that draws with a tiny model, and one for agents."""

from __future__ import annotations

from typing import Any

from models.jobs.agents import AGENT_QUEUE, AgentRequest
from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.records import JobRecord
from service.backbone.keys import owner_id
from service.backbone.keyspace import workers_key
from tests.workers.conftest import World

KEY = "a-key-of-an-agent"
OWNER = owner_id(KEY)
LONG_S = 120.0


class AgentWorld(World):
    """A world with an API key that agents work for."""

    def ask_for(self, brief: str, **params: Any) -> str:
        return self.submit_request(AgentRequest(brief=brief, **params), OWNER)

    def over(self, job_id: str) -> JobRecord:
        (record,) = self.until_over(job_id, timeout_s=LONG_S)
        return record

    def submit_replay(self, job_id: str, owner: str = OWNER) -> str:
        return self.submit_request(AgentRequest(replay=job_id), owner)

    def owner_of_image(self, image_id: str) -> str | None:
        """The owner of the job that made an image."""
        jobs = (
            self.record(key.decode().split(":")[2]) for key in self.redis.scan_iter("photogram:job:*", _type="hash")
        )
        return next((job.owner for job in jobs if image_id in {image.image_id for image in job.images}), None)

    def start_agents(self) -> None:
        """A worker of agents beside the one that draws."""
        self.queue = AGENT_QUEUE
        try:
            self.agents = self.start_worker()
        finally:
            self.queue = DIFFUSION_QUEUE

    def kill_agents(self) -> None:
        """Kill that worker, as nobody expects it."""
        self.agents.kill()
        self.agents.wait()
        self.redis.delete(workers_key(AGENT_QUEUE))
