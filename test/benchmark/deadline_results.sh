#!/bin/bash
# Everything that results/README.md shows, measured anew on this machine: about 80 minutes during which nothing
# else should run. From the repository's root:
#
#     [TRACES=new] test/benchmark/deadline_results.sh [PYTHON] [FRAMES]
#
# FRAMES per cell, 3000 by default. With TRACES=new the traces are recorded anew, too (12 minutes more). A part that fails or takes too long does not keep the others from running.
cd "$(dirname "$0")/../.." || exit 1
python=${1:-.venv/bin/python} frames=${2:-3000}
export PYTHONPATH=$PWD
results=test/benchmark/results traces=test/benchmark/traces
failed=()

run() { # run SECONDS ARGUMENTS...
    local limit=$1 && shift
    echo "$(date +%T) deadlines.py $*"
    timeout --signal=INT --kill-after=20 "$limit" "$python" test/benchmark/deadlines.py "$@" || failed+=("$*")
}

rm -f "$results"/live/* "$results"/simulated/*
policies=adaptive,running_mean,static_p99,fixed_first,hindsight
run 600 --model default --threads 1 --policies $policies --frames "$frames" --limit 100 --json "$results/live/default.json"
run 600 --model clothing10 --policies $policies --frames "$frames" --limit 100 --json "$results/live/clothing10.json"
run 1100 --model resnet18 --policies $policies --frames "$frames" --limit 180 --json "$results/live/resnet18.json"
if [ "${TRACES:-}" = new ]; then
    for model in clothing10 resnet18; do
        for load in none step burst burn; do
            run 100 --record "$traces/$model-$load.npz" --model $model --load $load --frames "$frames" --limit 60
        done
    done
    for load in none step; do # one thread, so that the resolutions are a ladder on any machine
        run 100 --record "$traces/default-$load.npz" --model default --load $load --threads 1 --frames 400 --limit 80
    done
fi
# 5,200 frames of each model beside load. Of the frames that could be answered 0.2 % may be missed.
run 4000 --realtime 10 --model default,resnet18 --load burn,step --frames 2600 --miss-rate 0.002 --json "$results/realtime.json"
run 150 --ros --model clothing10 --load none --policies adaptive --frames 1000 --limit 70 --json "$results/ros.json"
run 90 --cameras 4 --frames 400 --json "$results/cameras-live.json"
run 70 --timer 40 --model resnet18 --json "$results/timer.json"
echo "$(date +%T) batching.py"
timeout 60 "$python" test/benchmark/batching.py --json "$results/batching.json" || failed+=(batching)

# From here on nothing is measured.
run 60 --recompute "$results"/live/*.frames.json.gz --json "$results/live/summary.json" --plots "$results/live"
rm -f "$results/live/default.json" "$results/live/clothing10.json" "$results/live/resnet18.json"
run 300 --simulate all --json "$results/simulated/summary.json" --plots "$results/simulated"
rm -f "$results/simulated/summary.frames.json.gz" # can be made again from the traces
run 120 --simulate all --load none --cameras 4 --json "$results/cameras-simulated.json"
run 60 --tables
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" && exit 1; }
