#!/bin/sh
# Train on several nodes over ssh, with one torchrun on each:
#
#     HOSTS="node1 node2" CARDS=8 sh ssh.sh train-paper --run.sharding=fsdp \
#         --model.path=/shared/Qwen3-VL-8B-Instruct --data.path=/shared/dataset --out /shared/runs/paper
#
# What follows `ssh.sh` is what would follow `videossr train`. Run it where torchrun is on the PATH, in a folder that all
# nodes have; ssh must need no password (SSH="ssh -tt -p 2222" for other options). The first host leads: the others reach
# it at PORT, 29500. Variables such as NCCL_SOCKET_IFNAME or HF_HOME are set for ssh sessions of each node, not here. On
# Ctrl-C the run saves a checkpoint; the same command resumes it.
set -eu

: "${HOSTS:?set it to the names of the nodes, such as HOSTS=\"node1 node2\"}"
CARDS=${CARDS:-8}
PORT=${PORT:-29500}
SSH=${SSH:-ssh -tt}

quote() {
    printf "'%s' " "$(printf %s "$1" | sed "s/'/'\\\\''/g")"
}

torchrun=$(command -v torchrun) || {
    echo "torchrun is not on the PATH: activate the environment of videossr" >&2
    exit 1
}
torchrun=$(quote "$torchrun")
train=
for word in "$@"; do
    train="$train$(quote "$word")"
done

set -- $HOSTS
nodes=$#
leader=$1
processes=
trap 'kill $processes 2>/dev/null || true' INT TERM

for host in "$@"; do
    rank=$((nodes - $#))
    shift
    $SSH "$host" "cd $(quote "$PWD") && exec $torchrun --nnodes $nodes --node-rank $rank --nproc-per-node $CARDS \
        --master-addr $leader --master-port $PORT --shutdown-timeout 240 -m videossr.cli train $train" </dev/null &
    processes="$processes $!"
done

failed=0
for process in $processes; do
    wait "$process" || failed=$?
done
exit "$failed"
