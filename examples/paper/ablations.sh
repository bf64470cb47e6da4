#!/usr/bin/env bash
# The paper's ablations: smooth against strict rewards, one task against the mixture, and one perturbation at a
# time.
#
#     VIDEOS=… BENCHMARKS=… WORK=… bash examples/paper/ablations.sh        # after run.sh, with its settings
#     … bash examples/paper/ablations.sh rewards report                    # some of the steps, in this order
#
# The settings of run.sh hold here too, from the environment. A run that was stopped goes on when it is run again.
# Costs in all, with the defaults: 11.9 + 5.6 hours of training on one H200, derived from 0.47 seconds a question by
# train-1xh200 (docs/results/train-gpu.md); 5 hours for prompts of benchmarks, estimated as in run.sh.
set -euo pipefail
# shellcheck source=examples/paper/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/run.sh"

TASKS=${TASKS:-grounding counting jigsaw}        # trained alone, with either reward
CELLS=${CELLS:-videomme,charades,vcrbench}       # the benchmarks of the paper's table
ABLATION_FRAMES=${ABLATION_FRAMES:-${FRAMES%%,*}} # 32, as in that table; run.sh must have asked the base at it

# The paper's 14 perturbations, each trained alone.
appearance="saturation noise blur grayscale invert channel_swap"
KINDS=${KINDS:-$appearance zoom_in zoom_out rotate_180 mirror shuffle stutter slow fast}

# The last checkpoint of each run stays: 33 GiB by train-1xh200, 114 by train-paper, derived, twice that while the
# next one is written. The folder `trainer` in it, which only resuming needs, is 17 or 98 of these.
ablation() { # NAME BENCHES SETTING...
    local name=$1 benches=$2
    shift 2
    say "$name"
    fit "$WORK/ablations/train/$name" --log.keep=1 "$@"
    ask "$WORK/ablations/train/$name/model" "$benches" "$ABLATION_FRAMES" "$WORK/ablations/runs/$name"
}

# 1. The questions of one task, and all of them, with either reward. All with the smooth one is the model of run.sh.
# Costs: 12,000 + 6,000 + 12,000 questions twice and 30,000 once are 11.9 hours of one H200 (derived). The three
# benchmarks have 6,785 questions: 0.4 hours for the prompts of each of 7 models (estimated).
rewards() {
    local task reward only
    for task in $TASKS; do
        case $task in
        grounding)
            only='["grounding/channel_swap", "grounding/mirror", "grounding/zoom_out", "grounding/rotate_180"]'
            ;;
        counting) only='["counting/easy"]' ;;
        jigsaw) only='["jigsaw/6"]' ;;
        *) echo "TASKS: $task is none of grounding counting jigsaw" >&2 && exit 2 ;;
        esac
        for reward in strict smooth; do
            ablation "$task-$reward" "$CELLS" --data.path="$WORK/dataset" --data.categories="$only" \
                --grpo.reward="$reward"
        done
    done
    ablation all-strict "$CELLS" --data.path="$WORK/dataset" --grpo.reward=strict
}

# 2. One perturbation at a time, by Video-MME. 3,000 questions each is the choice of the recipe.
# Costs: 14 times 0.44 hours of one H200 (derived), and 0.16 for the prompts of 2,700 questions (estimated). Slow
# and fast need frames between those that are shown, so a corpus of 96: another 27 core-hours and 56 GB, estimated
# as in run.sh.
perturbations() {
    local kind corpus
    for kind in $KINDS; do
        corpus=$WORK/corpus
        case $kind in
        slow | fast)
            need VIDEOS "the folder of the videos"
            corpus=$WORK/corpus-96
            videossr index "$VIDEOS" --out "$corpus" --frames 96
            ;;
        esac
        videossr build perturbations --only "grounding/$kind" --corpus "$corpus" --out "$WORK/ablations/data/$kind" \
            --exclude "${excluded[@]}" ${LIMIT:+--per-category "$LIMIT"}
        ablation "only-$kind" videomme --data.path="$WORK/ablations/data/$kind"
    done
}

# 3. The paper's table of ablations, with gains over the base and the rows that the paper prints.
report() {
    local all=("$WORK/runs/base" "$WORK/runs/videossr" "$WORK"/ablations/runs/*)
    videossr report "${all[@]}" --layout paper --base base --out "$WORK/ablations.html"
    videossr report "${all[@]}" --layout paper --base base --format md --out "$WORK/ablations.md"
    sed -n '/^\*\*Ablations/,/^\*\*Comparable/{/^\*\*Comparable/!p}' "$WORK/ablations.md"
}

need BENCHMARKS "the folder of the benchmarks"
for needed in dataset train runs/base runs/videossr; do
    [[ -e $WORK/$needed ]] || { echo "$WORK/$needed is not there: run run.sh first" >&2 && exit 2; }
done
(($#)) || set -- rewards perturbations report
for step in "$@"; do
    case $step in
    rewards | perturbations | report) "$step" ;;
    *) echo "$step: the steps are rewards perturbations report" >&2 && exit 2 ;;
    esac
done
finish
