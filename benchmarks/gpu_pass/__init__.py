"""The checks and measurements that ``scripts/gpu_pass.sh`` runs on a GPU machine; docs/gpu.md describes them."""
