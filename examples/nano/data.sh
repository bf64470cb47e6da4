#!/bin/sh
# Make the data of the scripts beside this one: videos, a corpus, and questions of a recipe (by default nano.toml), those
# about one video in twelve held out. Existing files are kept.
#
#     sh examples/nano/data.sh FOLDER VIDEOS QUESTIONS_A_CATEGORY [RECIPE [SIDE FRAMES]]
set -eu
here=$(dirname "$0")
folder=$1 videos=$2 questions=$3 recipe=${4:-nano} side=${5:-64} frames=${6:-16}

python "$here/videos.py" "$folder/videos" "$videos" "$side"
# The scenes last 8 seconds: with no margin, 16 slots are half a second apart, and answers are as short as 2.5-5.0.
videossr index "$folder/videos" --out "$folder/corpus" --frames $frames --max-pixels $((side * side)) \
    --margin 0
[ -e "$folder/all/manifest.json" ] ||
    videossr build "$here/$recipe.toml" --corpus "$folder/corpus" --out "$folder/all" --per-category "$questions"
[ -e "$folder/held/manifest.json" ] ||
    videossr dataset split "$folder/all" --out "$folder/train" "$folder/held" --share 0.917
videossr validate "$folder/held" --model-type qwen3_vl --show 1
