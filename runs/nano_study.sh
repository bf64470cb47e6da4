#!/bin/sh
# The study behind docs/results/nano.md: does GRPO learn, how sure is that, and what does it hang on? On a CPU.
#
#     sh runs/nano_study.sh FOLDER
#
# For each of 3 seeds a tiny model and its supervised start. From that of seed 0, both rewards on a grid of rates and
# KL; then each reward at its best, for the other seeds; and one column alone, for all. What is complete is not run
# again, what was stopped goes on. STEPS and START are steps of GRPO and of the start, JOBS runs at once.
set -eu
here=$(dirname "$0")
folder=$1
export STEPS="${STEPS:-60}" START="${START:-80}" JOBS="${JOBS:-2}" ASKED="${ASKED:-200}"
export OMP_NUM_THREADS=1 folder

sh "$here/nano_data.sh" "$folder" 600 1500

cat >"$folder/one" <<'END'
# One run, from "NAME SEED OVERRIDE ...": trained, then asked all held-out questions.
set -eu
name=$1 seed=$2 && shift 2
ask() {
    [ -e "$folder/held-out/$name/manifest.json" ] || videossr bench run "$folder/held" --model "$1" --limit "$ASKED" \
        --max-tokens 10 --set batch=32 --out "$folder/held-out/$name" >>"$folder/$name.log" 2>&1
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
for reward in smooth strict; do
    for rate in 1e-4 3e-4; do
        for kl in 0 0.03; do
            echo "$reward-$rate-$kl-0 0 --grpo.reward=$reward --optim.lr=$rate --grpo.kl=$kl"
        done
    done
done | together
for seed in 1 2; do
    for reward in smooth strict; do
        best=$(python "$here/nano_study.py" best "$folder" "$reward") # RATE-KL
        echo "$reward-$best-$seed $seed --grpo.reward=$reward --optim.lr=${best%-*} --grpo.kl=${best##*-}"
    done
done | together
for seed in 0 1 2; do
    best=$(python "$here/nano_study.py" best "$folder" smooth)
    echo "alone-$best-$seed $seed --optim.lr=${best%-*} --grpo.kl=${best##*-} '--data.columns=[\"grounding/zoom_out\"]'"
done | together
python "$here/nano_study.py" plot "$folder" docs/results/nano.svg
