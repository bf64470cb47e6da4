#!/bin/sh
# It learns: from nothing to a tiny model that GRPO has made better, on a CPU, in less than 20 minutes.
#
#     sh examples/nano/nano.sh FOLDER            the whole of it
#     sh examples/nano/nano.sh FOLDER quick      in some minutes, as `make demo` does it: to see that everything works
#
# Needs `videossr` and its `python` on the path, with the extra [train]. Stopped, the same call goes on where it was.
set -eu
here=$(dirname "$0")
folder=$1 pace=${2:-whole}

case $pace in
whole) videos=600 questions=1500 start=80 steps=240 rate=1e-4 asked=480 ;;
quick) videos=96 questions=160 start=24 steps=16 rate=3e-4 asked=48 ;;
*) echo "$pace: say quick, or nothing" >&2 && exit 2 ;;
esac

sh "$here/data.sh" "$folder" "$videos" "$questions"
[ -e "$folder/tiny/config.json" ] || python -m videossr.models.tiny "$folder/tiny"

# A short supervised start on a part of the questions, then GRPO on the others.
videossr train train-nano-sft --model.path="$folder/tiny" --data.path="$folder/train" --run.steps=$start \
    --out "$folder/sft"
videossr train train-nano --model.path="$folder/sft/model" --data.path="$folder/train" --run.steps=$steps \
    --optim.lr=$rate --out "$folder/grpo"

# All of them on videos that neither has seen. What a model is worth is what it has over the best constant answer.
ask() {
    videossr bench run "$folder/held" --model "$2" --limit $asked --max-tokens 10 --out "$folder/runs/$1"
}
ask chance chance
ask constant constant:smooth
ask before "hf:$folder/sft/model"
ask after "hf:$folder/grpo/model"
videossr bench score "$folder/runs/chance" "$folder/runs/constant" "$folder/runs/before" "$folder/runs/after"
videossr report "$folder/grpo" --out "$folder/train.html"
videossr report "$folder/runs/chance" "$folder/runs/constant" "$folder/runs/before" "$folder/runs/after" \
    --out "$folder/held.html"
