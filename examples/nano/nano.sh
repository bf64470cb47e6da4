#!/bin/sh
# Make videos and questions, train a tiny model with GRPO, and evaluate it: on a CPU, in less than 20 minutes.
#
#     sh examples/nano/nano.sh FOLDER            the complete run
#     sh examples/nano/nano.sh FOLDER quick      a short form of some minutes, as in `make demo`
#     sh examples/nano/nano.sh FOLDER large      80 million weights and larger videos, for one GPU; never run on one
#
# Needs `videossr` and its `python` on the path, with the extra [train]. A stopped run goes on with the same command.
set -eu
here=$(dirname "$0")
folder=$1 pace=${2:-whole}

recipe=nano side=64 frames=16 first=1e-3 shape=
case $pace in
whole) videos=600 questions=1500 start=80 steps=240 rate=1e-4 asked=480 ;;
quick) videos=96 questions=160 start=24 steps=16 rate=3e-4 asked=48 ;;
large)
    videos=600 questions=1500 start=150 steps=240 first=3e-4 rate=3e-5 asked=480
    recipe=nano-large side=128 frames=32 shape='--width 768 --layers 10 --vision-width 256 --vision-layers 6'
    ;;
*) echo "$pace: say quick, large, or nothing" >&2 && exit 2 ;;
esac

sh "$here/data.sh" "$folder" "$videos" "$questions" "$recipe" "$side" "$frames"
# shellcheck disable=SC2086 # several words
[ -e "$folder/tiny/config.json" ] || python -m videossr.models.tiny "$folder/tiny" $shape

# A short supervised start on a part of the questions, then GRPO on the others.
videossr train train-nano-sft --model.path="$folder/tiny" --data.path="$folder/train" --run.steps=$start \
    --optim.lr=$first --out "$folder/sft"
videossr train train-nano --model.path="$folder/sft/model" --data.path="$folder/train" --run.steps=$steps \
    --optim.lr=$rate --out "$folder/grpo"

# Evaluate both models on videos that neither has seen. Compare their scores with the best constant answer.
ask() {
    videossr bench run "$folder/held" --model "$2" --limit $asked --max-tokens 10 --out "$folder/runs/$1"
}
ask chance chance
ask constant-smooth constant:smooth
ask before "hf:$folder/sft/model"
ask after "hf:$folder/grpo/model"
videossr bench score "$folder/runs/chance" "$folder/runs/constant-smooth" "$folder/runs/before" "$folder/runs/after"
videossr report "$folder/grpo" --out "$folder/train.html"
videossr report "$folder/runs/chance" "$folder/runs/constant-smooth" "$folder/runs/before" "$folder/runs/after" \
    --out "$folder/held.html"
