#!/usr/bin/env bash
# The paper's run from videos to tables: questions, training, and evaluation before and after.
#
#     VIDEOS=/data/LLaVA-Video BENCHMARKS=/data/benchmarks WORK=/data/paper bash examples/paper/run.sh
#     … bash examples/paper/run.sh train viubench        # some of the steps, in this order
#
# A step that was stopped or killed goes on when it is run again; one that is complete is left as it is. README.md
# beside this file sums up the costs, says what is not comparable with the paper, and shows a dry run of minutes.
# Costs: "measured" and "derived" are figures of docs/results; "estimated" are scaled from those, as is said.
set -euo pipefail

# ----------------------------------------------------------------------------------------------------
# Settings. The environment replaces them.

VIDEOS=${VIDEOS:-}                           # unlabelled videos; the paper's are those of LLaVA-Video
BENCHMARKS=${BENCHMARKS:-}                   # a folder for each benchmark, as `videossr bench list NAME` says
WORK=${WORK:-paper}                          # everything is written here
MODEL=${MODEL:-Qwen/Qwen3-VL-8B-Instruct}    # the base model: a folder, or a name on the Hub
BACKEND=${BACKEND:-hf}                       # hf or vllm: what the models are asked through

PIXELS=${PIXELS:-262144}                     # of a stored frame; VIUBench shows 512x512, training 256x256 of the same
VIU_VIDEOS=${VIU_VIDEOS:-6000}               # the first videos by their hashes, from which VIUBench takes its 2,700
RECIPE=${RECIPE:-videossr-30k}               # of the training questions
EXCLUDE=${EXCLUDE:-}                         # more datasets whose videos must not be trained on, apart by spaces

TRAIN=${TRAIN:-train-paper}                  # the training recipe; on one card of 141 GB: TRAIN=train-1xh200 CARDS=1
CARDS=${CARDS:-8}                            # processes of training, one a card
STEPS=${STEPS:-}                             # training steps; empty: one epoch, as in the paper
TRAIN_SETTINGS=${TRAIN_SETTINGS:-}           # more words for `videossr train`, such as "--log.save_every=100"

BENCHES=${BENCHES:-paper}                    # public benchmarks: names with commas between; paper: its 16
FRAMES=${FRAMES:-32,48,64}                   # of a video, at most: a run for each
MODELS=${MODELS:-base videossr}              # the models to ask; one alone lets two cards share the work
BENCH_SETTINGS=${BENCH_SETTINGS:-}           # more words for `videossr bench run`, such as "--model.batch=16"

LIMIT=${LIMIT:-}                             # for a dry run: questions a category, and of each public benchmark

# ----------------------------------------------------------------------------------------------------
# What the steps share. ablations.sh uses it too.

read -ra train_settings <<<"$TRAIN_SETTINGS"
read -ra bench_settings <<<"$BENCH_SETTINGS"
read -ra excluded <<<"$EXCLUDE"
excluded+=("$WORK/viubench")
remarks=()

need() { # VARIABLE MEANING
    if [[ -z ${!1} ]]; then
        echo "$1 is not set: it names $2" >&2
        exit 2
    fi
}

say() { printf '\n== %s  %s\n' "$(date '+%F %T')" "$*"; }

# Run a command whose exit status 1 means "done, but something does not hold": go on, and repeat it at the end. Any
# other failure stops the script; 2 is "could not be done", such as when no question of a benchmark was answered.
tolerate() { # REMARK COMMAND...
    local remark=$1 status=0
    shift
    "$@" || status=$?
    case $status in
    0) ;;
    1)
        remarks+=("$remark")
        say "goes on, but: $remark"
        ;;
    *) exit "$status" ;;
    esac
}

finish() {
    ((${#remarks[@]})) || return 0
    say "done, but:"
    printf '   %s\n' "${remarks[@]}"
    exit 1
}

fit() { # OUT SETTING...: train the base model
    local out=$1
    shift
    local start=(videossr)
    if ((CARDS > 1)); then start=(torchrun --nproc-per-node "$CARDS" -m videossr.cli); fi
    "${start[@]}" train "$TRAIN" --model.path="$MODEL" "$@" ${STEPS:+--run.steps="$STEPS"} \
        "${train_settings[@]}" --out "$out"
}

ask() { # CHECKPOINT NAMES FRAMES OUT: put public benchmarks to a model
    tolerate "some questions of $2 failed, in $4: they count as wrong, and the same command asks them again" \
        videossr bench run "$2" --data "$BENCHMARKS" --model "$BACKEND:$1" --frames "$3" --cache "$WORK/frames" \
        ${LIMIT:+--limit "$LIMIT"} "${bench_settings[@]}" --out "$4"
}

checkpoint() { # NAME: of one of MODELS
    case $1 in
    base) printf '%s' "$MODEL" ;;
    videossr) printf '%s' "$WORK/train/model" ;;
    *)
        echo "MODELS: $1 is neither base nor videossr" >&2
        return 2
        ;;
    esac
}

# ----------------------------------------------------------------------------------------------------
# 0. Are the benchmarks there, and are they what was published? Ask before the long part.
# Costs: every video is opened and none decoded; minutes, not measured. Disk: that of the benchmarks, not measured.
check() {
    tolerate "the files in $BENCHMARKS are not those that were published: scores are not comparable" \
        videossr bench check "$BENCHES" --data "$BENCHMARKS"
}

# 1. Decode every video once: 48 frames of the middle 90 %.
# Costs of 40,000 videos: 27 core-hours, estimated from the measured 2.45 processor seconds for a video of 1 to 3
# minutes (docs/results/speed.md, frames of 256x256); the cores share them. Disk: 112 GB, estimated from 0.7 MB a
# video at 256x256 (docs/how-to/many-machines.md), times four for the pixels. No card. PIXELS=65536 stores a
# quarter; VIUBench then shows smaller frames than the paper's.
index() {
    videossr index "$VIDEOS" --out "$WORK/corpus" --max-pixels "$PIXELS"
}

# 2. Draw the benchmark first, then training questions about other videos: none of the benchmark's, none that looks
# like one. Every label is gated, and a video serves once as long as there are enough.
# Costs: 5 core-hours, estimated from 35 processor minutes for 5,000 clips of 256x144 and 6 categories, 30,000 draws
# included (docs/results/rehearsal.md); larger frames add to it. Disk: 200 MB of questions and fingerprints,
# estimated from 33 MB for 5,000 videos, and 8 GB for VIUBench, which holds its own frames. No card.
build() {
    videossr build viubench --corpus "$WORK/corpus" --out "$WORK/viubench" --videos "$VIU_VIDEOS" \
        ${LIMIT:+--per-category "$LIMIT"}
    videossr build "$RECIPE" --corpus "$WORK/corpus" --out "$WORK/dataset" --exclude "${excluded[@]}" \
        ${LIMIT:+--per-category "$LIMIT"}
}

# 3. Check labels, pixels, times and statistics, render every sample again, and look at some. A check that fails
# stops the script: do not train on such questions.
# Costs: 1.5 hours of two cores, estimated from 9 minutes for 3,000 renders at 256x144 (docs/results/rehearsal.md);
# larger frames take longer. No card.
validate() {
    videossr validate "$WORK/viubench"
    videossr validate "$WORK/dataset" --model-type qwen3_vl
    videossr gallery "$WORK/dataset" --out "$WORK/gallery.html"
}

# 4. GRPO, one epoch: 30,000 questions, 64 a step, 8 answers each, smooth rewards, KL 1e-3, rate 1e-6, all weights.
# Costs: the paper reports 16 hours on 8 H200. Here, on one H200 by train-1xh200: 3.9 hours, derived and not
# measured (docs/results/train-gpu.md); nothing is derived for 8 cards. Memory on a card: 97 GiB by train-1xh200,
# derived. Disk: a checkpoint is 114 GiB by train-paper (weights 16, float32 masters 33, moments 65) and 33 GiB by
# train-1xh200, derived from the table of memory there; two are kept while a third is written.
train() {
    fit "$WORK/train" --data.path="$WORK/dataset"
}

# 5. VIUBench before and after.
# Costs, a model: 0.25 hours of one H200 for 2,700 prompts of 48 frames of 512x512, estimated: 130 x 10^12
# operations each by `videossr.training.cost.flops`, at 40 % of the card's peak as in docs/results/train-gpu.md.
# Answers come on top.
viubench() {
    local name model
    for name in $MODELS; do
        model=$(checkpoint "$name")
        tolerate "some questions of VIUBench failed, in $WORK/viubench-runs/$name: they count as wrong" \
            videossr bench run "$WORK/viubench" --model "$BACKEND:$model" "${bench_settings[@]}" \
            --out "$WORK/viubench-runs/$name"
    done
}

# 6. The 16 public benchmarks before and after, at each number of frames.
# Costs, a model: 14 hours of one H200 for the prompts of 49,142 questions (AoTBench is not among them: nobody says
# how many it has), estimated likewise: 0.21, 0.33 and 0.45 seconds for 32, 48 and 64 frames of 512x512. Short
# videos have fewer frames; answers, and waiting for frames, come on top. Frames are decoded once for both models
# and all numbers of frames; what that takes for videos of an hour was not measured. Disk: 10 MB a video at most,
# estimated from 776 KiB for 48 frames of 256x256 (docs/results/indexing.md): 150 GB.
public() {
    local name model
    for name in $MODELS; do
        model=$(checkpoint "$name")
        ask "$model" "$BENCHES" "$FRAMES" "$WORK/runs/$name"
    done
}

# 7. The tables, with gains over the base and the rows that the paper prints.
# Costs: minutes on a CPU, not measured; a page is some MB.
report() {
    local both=("$WORK/runs/base" "$WORK/runs/videossr")
    videossr report "$WORK/train" --questions "$WORK/dataset" --out "$WORK/train.html"
    videossr report "$WORK/viubench-runs/base" "$WORK/viubench-runs/videossr" --paper --questions "$WORK/viubench" \
        --out "$WORK/viubench.html"
    videossr bench score "$WORK/viubench-runs/base" "$WORK/viubench-runs/videossr" --paper
    videossr report "${both[@]}" --layout paper --base base --out "$WORK/paper.html"
    videossr report "${both[@]}" --layout paper --base base --format md --out "$WORK/paper.md"
    cat "$WORK/paper.md"
}

# ----------------------------------------------------------------------------------------------------

main() {
    local step
    (($#)) || set -- check index build validate train viubench public report
    for step in "$@"; do
        case $step in
        index) need VIDEOS "the folder of the videos" ;;
        check | public) need BENCHMARKS "the folder of the benchmarks" ;;
        build | validate | train | viubench | report) ;;
        *)
            echo "$step: the steps are check index build validate train viubench public report" >&2
            exit 2
            ;;
        esac
    done
    mkdir -p "$WORK"
    for step in "$@"; do
        say "$step"
        "$step"
    done
    finish
}

# ablations.sh reads this file for its settings and functions, and runs no step of it.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
