"""The function of the job kind ``agent``, as the registry names it."""

from __future__ import annotations

from models.jobs.results import JobOutput
from workers.functions import FunctionCall


def run_agent(call: FunctionCall) -> JobOutput:
    """Run an agent job; raises as :func:`workers.agent.job.run_agent`.

    What it needs, above all MCP, takes 1.5 s and 35 MB, which a worker spends with its first job and not at its start:
    every ``photogram up`` starts one, and most have no agent job.
    """
    from workers.agent.job import run_agent as run

    return run(call)
