#!/usr/bin/env bash
# Start a Ray cluster on a Slurm allocation and run a sweep on it.
#
#   sbatch --nodes 4 --gpus-per-node 8 --time 24:00:00 docs/slurm.sh GRID.toml OUT
#
# OUT is a folder that all nodes can read and write, or a URL that fsspec can open. Near the time limit the cells save and
# the job ends; submit the same line again to continue. See docs/slurm.md.
#SBATCH --job-name=espl-bench
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --signal=B:TERM@600
#SBATCH --output=espl-bench-%j.out
set -euo pipefail

grid=${1:?"usage: sbatch slurm.sh GRID.toml OUT"}
out=${2:?"usage: sbatch slurm.sh GRID.toml OUT"}
port=${RAY_PORT:-6379}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
head_address=$(srun --nodes=1 --ntasks=1 --overlap --nodelist="$head" hostname --ip-address | awk '{print $1}')
cores=${SLURM_CPUS_ON_NODE:-$(nproc)}
gpus=${SLURM_GPUS_ON_NODE:-0}

start() { # NODE and further options of `ray start`; --block keeps the step alive as long as its Ray
  local node=$1
  shift
  srun --nodes=1 --ntasks=1 --overlap --nodelist="$node" \
    ray start --num-cpus="$cores" --num-gpus="$gpus" --disable-usage-stats --block "$@" &
}

start "$head" --head --node-ip-address="$head_address" --port="$port"
for _ in $(seq 60); do
  ray health-check --address "$head_address:$port" 2> /dev/null && break
  sleep 2
done
for node in "${nodes[@]:1}"; do
  start "$node" --address="$head_address:$port"
done

# In the background, because a shell hands a signal on only between two commands, and `wait` ends at one.
# --growing: the other nodes may join after the first cells have been looked at.
espl-bench sweep run "$grid" --out "$out" --address "$head_address:$port" --growing &
sweep=$!
trap 'kill -TERM "$sweep"' TERM INT
code=0
wait "$sweep" || code=$?
if kill -0 "$sweep" 2> /dev/null; then # the wait was ended by the signal: now for the cells to save
  code=0
  wait "$sweep" || code=$?
fi
exit "$code" # the job's end ends the steps that hold Ray
