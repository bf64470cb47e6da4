#!/bin/sh
# Let a tiny model learn to count by GRPO, with three trainers: ours, ours without the shared prefix, and TRL's extended to
# videos. Part of the study of docs/results/nano.md. On a CPU.
#
#     make .side/trl/.installed
#     sh examples/nano/counting.sh FOLDER
#
# For each of 3 seeds a tiny model and its supervised start: START steps, and 40 more until it sees the squares. From
# each start all three trainers with the same
# questions and settings, one run at a time: STEPS steps of ours, OTHERS of the slower ones. Complete runs are not
# repeated. TRL is the interpreter of an environment with TRL.
set -eu
here=$(dirname "$0")
folder=$1
export START="${START:-100}" STEPS="${STEPS:-90}" OTHERS="${OTHERS:-16}" ASKED="${ASKED:-240}"
export TRL="${TRL:-.side/trl/bin/python}" OMP_NUM_THREADS=1

sh "$here/data.sh" "$folder" 600 3300 counting
[ -e "$folder/grpo/manifest.json" ] ||
    videossr dataset split "$folder/train" --out "$folder/sft" "$folder/grpo" --share 0.7

ask() {
    [ -e "$folder/held-out/$1/manifest.json" ] || videossr bench run "$folder/held" --model "$2" --limit "$ASKED" \
        --max-tokens 10 --model.batch=32 --out "$folder/held-out/$1" >>"$folder/log" 2>&1
}
ask chance chance
ask constant constant:smooth
for seed in 0 1 2; do
    [ -e "$folder/tiny-$seed/config.json" ] || python -m videossr.models.tiny "$folder/tiny-$seed" --seed "$seed"
    steps=$START
    until python "$here/counting.py" sees "$folder" "$seed"; do
        videossr train train-nano-sft --model.path="$folder/tiny-$seed" --data.path="$folder/sft" \
            '--data.share=[0.0,1.0]' --run.epochs=9 --run.seed="$seed" --run.steps="$steps" \
            --out "$folder/runs/start-$seed" >>"$folder/log" 2>&1
        steps=$((steps + 40))
    done
    ask "start-$seed" "hf:$folder/runs/start-$seed/model"
done
for arm in shared trl not-shared; do
    for seed in 0 1 2; do
        steps=$OTHERS && [ $arm != shared ] || steps=$STEPS
        python "$here/counting.py" train "$folder" "$arm" "$seed" "$steps"
        model=$folder/runs/$arm-$seed && [ $arm = trl ] || model=$model/model
        ask "$arm-$seed" "hf:$model"
        echo "$(date +%H:%M:%S) $arm $seed"
    done
done
python "$here/counting.py" plot "$folder" docs/results/nano-counting.svg
