#!/bin/sh
# Run the study of docs/results/nano.md: whether GRPO learns, with what spread over seeds, and with which settings. On a CPU.
#
#     sh examples/nano/study.sh FOLDER
#
# For each of 3 seeds a tiny model and its supervised start, of START steps. From each start, both rewards on one grid of
# rates and KL, and one category alone with the smooth reward at its best, STEPS steps each.
# Complete runs are not repeated, and stopped runs are resumed. JOBS is the number of runs at the same time.
set -euf
here=$(dirname "$0")
folder=$1
export START="${START:-80}" STEPS="${STEPS:-200}" JOBS="${JOBS:-2}" ASKED="${ASKED:-480}"
export OMP_NUM_THREADS=1 folder

sh "$here/data.sh" "$folder" 600 1500

cat >"$folder/one" <<'END'
# Train one run, given as "NAME SEED SETTING ...", and evaluate it on all held-out questions.
set -euf
name=$1 seed=$2 && shift 2
ask() {
    [ -e "$folder/held-out/$name/manifest.json" ] || videossr bench run "$folder/held" --model "$1" --limit "$ASKED" \
        --max-tokens 10 --model.batch=32 --out "$folder/held-out/$name" >>"$folder/$name.log" 2>&1
}
case $name in
start-*)
    tiny=$folder/tiny-$seed
    [ -e "$tiny/config.json" ] || python -m videossr.models.tiny "$tiny" --seed "$seed"
    recipe=train-nano-sft model=$tiny steps=$START
    ;;
*) recipe=train-nano model=$folder/runs/start-$seed/model steps=$STEPS ;;
esac
[ -e "$folder/runs/$name/manifest.json" ] || videossr train "$recipe" --model.path="$model" --data.path="$folder/train" \
    --run.seed="$seed" --run.steps="$steps" --log.samples_every=0 --log.save_every=25 --log.keep=1 "$@" \
    --out "$folder/runs/$name" >>"$folder/$name.log" 2>&1
ask "hf:$folder/runs/$name/model"
echo "$(date +%H:%M:%S) $name"
END
together() { xargs -P "$JOBS" -L 1 sh "$folder/one"; }

for model in chance constant:smooth; do
    out=$folder/held-out/${model%:*}
    [ -e "$out/manifest.json" ] || videossr bench run "$folder/held" --model "$model" --limit "$ASKED" --out "$out"
done
for seed in 0 1 2; do echo "start-$seed $seed"; done | together
for seed in 0 1 2; do
    for reward in smooth strict; do
        for rate in 1e-4 3e-4; do
            for kl in 0 0.03; do
                echo "$reward-$rate-$kl-$seed $seed --grpo.reward=$reward --optim.lr=$rate --grpo.kl=$kl"
            done
        done
    done
done | together
best=$(python "$here/study.py" best "$folder" smooth) # smooth-RATE-KL
rate=${best#smooth-} kl=${best##*-}
for seed in 0 1 2; do
    echo "alone-$seed $seed --optim.lr=${rate%-*} --grpo.kl=$kl '--data.categories=[\"grounding/zoom_out\"]'"
done | together
python "$here/study.py" plot "$folder" docs/results/nano.svg
