#!/usr/bin/env bash
# Runs one stage of the GPU pass: scripts/gpu_pass.sh law|speed [--rehearse] [--out FOLDER] [--budget SECONDS]
# docs/gpu.md describes what it needs and how to run it.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
export PHOTOGRAM_COMMIT="${PHOTOGRAM_COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || true)}"
resume=()
for try in 1 2 3 4; do
    "${PYTHON:-python3}" -m benchmarks.gpu_pass "$@" "${resume[@]}"
    code=$?
    # 0: done; 2: it cannot run. With any other code, a check broke the device or the process, and a new process
    # continues with the next check.
    if [ "$code" -eq 0 ] || [ "$code" -eq 2 ]; then break; fi
    echo "gpu_pass: process $try of 4 ended with $code" >&2
    resume=(--resume)
done
exit "$code"
