#!/bin/bash
# What a card makes of vr1: bash run.sh [--device cpu] [STAGE…]. check.py says which stages there are.
cd "$(dirname "$0")" || exit 1
torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])') || exit 1
export LD_LIBRARY_PATH="$torch/lib:$torch/../nvidia/cu13/lib:$torch/../nvidia/cuda_nvrtc/lib:$LD_LIBRARY_PATH"
exec python3 check.py "$@"
