"""The agent's worker: jobs that turn a brief and files into finished images, by a plan, tools and checks."""
