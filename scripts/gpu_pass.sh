#!/usr/bin/env bash
# Runs one stage of the GPU pass: scripts/gpu_pass.sh law|speed [--rehearse] [--out FOLDER] [--budget SECONDS]
# docs/gpu.md tells what it needs and how it is run on a bare machine.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
export PHOTOGRAM_COMMIT="${PHOTOGRAM_COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || true)}"
code=0
for try in 1 2 3 4; do
    "${PYTHON:-python3}" -m benchmarks.gpu_pass "$@"
    code=$?
    # 0: done. 1, 2: it cannot run, an exception or wrong arguments. Others: the device or the process broke, and a new
    # process goes on after the check that did it.
    [ "$code" -le 2 ] && break
    echo "gpu_pass: the process ended with $code; try $try of 4" >&2
done
exit "$code"
