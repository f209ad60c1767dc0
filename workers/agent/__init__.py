"""The worker of agent jobs: the loop from a brief to finished images, its record, its tools and its sandbox."""
