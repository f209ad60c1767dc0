"""The checks and measurements that are run on a bare GPU machine: ``scripts/gpu_pass.sh STAGE``; see docs/gpu.md."""
