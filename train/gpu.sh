#!/bin/bash
# The whole recipe on one GPU by the clock: gpu.sh RUNS [SECONDS, default 780].
# Everything goes into the folder RUNS, 20 GB of it: best in memory. All commands start at once, and each waits for what
# the others make. The VAE has VAE_SECONDS, the few-step LoRA the last LORA_SECONDS, the UNet all between.
# What an earlier run left is gone on with: copy its text, vision, vae and unet to RUNS/from.
# MODEL=FOLDER goes on from a model that assemble.py made: only its UNet, lock and LoRA learn, the encoders and the VAE
# stay as they are, and the judge sees pictures that have been through that VAE.
set -eu
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
runs=$1 began=$(date +%s)
end=$((began + ${2:-780}))
cores=$(nproc --all)
vae=${VAE_SECONDS:-150} lora=${LORA_SECONDS:-60}
model=${MODEL:-} seen=$runs/first keep_latents='' keep_vision='' through=''

from() { [ ! -e "$runs/from/$1" ] || echo "--from $runs/from/$1"; }
minutes() { awk "BEGIN{print $1 / 60}"; }
run() { name=$1; shift; "$python" "$here/$name.py" "$@" >>"$runs/logs/$name.log" 2>&1; }
# A graph that cannot be captured is no reason to end without a model.
learn() { run "$@" --wait || { echo "$1: again, without graphs"; run "$@" --wait --no-graphs; }; echo "$(($(date +%s) - began)) s: $1"; }
rendered() { nice "$python" "$here/dataset.py" "$runs/$1" --text "$runs/text" --frames "$2" --seed "$3" --jobs "$cores" >"$runs/logs/$1.log" 2>&1; }
frames() {
    [ -n "$model" ] || rendered first "${FIRST:-12000}" 1
    rendered data "${FRAMES:-60000}" "${SEED:-0}"
    echo "$(($(date +%s) - began)) s: frames"
}

mkdir -p "$runs/logs" "$runs/from"
if [ -n "$model" ]; then
    mkdir "$runs/from/text" "$runs/from/unet"
    cp -r "$model"/{tokenizer,tokenizer_2,text_encoder,text_encoder_2} "$runs/from/text/"
    cp -r "$model/vae" "$runs/vae"
    cp -r "$model/ip_adapter/image_encoder" "$runs/from/vision"
    cp -r "$model/unet" "$model/ip_adapter/ip-adapter-plus_kadr.safetensors" "$runs/from/unet/"
    cp -r "$runs/from/vision" "$runs/from/unet/"
    cp "$model/lora/lcm.safetensors" "$runs/from/"
    touch "$runs/vae/done"
    seen=$runs/data keep_latents=--keep keep_vision=--keep-vision through="--vae $runs/vae"
fi
for name in text vision; do
    if [ -e "$runs/from/$name" ]; then
        cp -r "$runs/from/$name" "$runs/"
        touch "$runs/$name/done"
    fi
done
[ -e "$runs/text/tokenizer" ] || run text --out "$runs/text" --tokenizers
frames &
[ -e "$runs/text/done" ] || learn text --out "$runs/text" --minutes "$(minutes "$vae * 0.6")" --batch ${BATCH:-256} &
[ -e "$runs/vision/done" ] || learn vision "$runs/first" --out "$runs/vision" --minutes "$(minutes "$vae * 0.3")" --batch ${BATCH:-256} --bf16 &
# shellcheck disable=SC2046
[ -e "$runs/vae/done" ] || learn vae "$runs/first" --out "$runs/vae" --minutes "$(minutes "$vae")" $(from vae) --bf16 &
# shellcheck disable=SC2086
{ learn judge train "$seen" --out "$runs/judge" --minutes "$(minutes "${JUDGE_SECONDS:-45}")" --batch ${BATCH:-128} \
    --frames "${JUDGE_FRAMES:-30000}" --bf16 $through || echo "no judge: see $runs/logs"; } &
{ run latents "$runs/data" "$runs/vae" --half --wait $keep_latents && echo "$(($(date +%s) - began)) s: latents"; } &
# shellcheck disable=SC2046
learn unet "$runs/data" "$runs/text" "$runs/vision" --out "$runs/unet" --batch ${BATCH:-256} --bf16 $(from unet) $keep_vision \
    --rate "${RATE:-1e-3}" --high "${HIGH:-0.5}" --small-first "${SMALL_FIRST:-0.35}" --until "$((end - lora))" &
# shellcheck disable=SC2046
learn distill "$runs/data" "$runs/text" "$runs/unet/unet" --out "$runs/lcm" --batch ${BATCH:-128} --bf16 $(from lcm.safetensors) --until "$end" &
while [ -n "$(jobs -rp)" ]; do
    wait -n || { echo "a command failed: see $runs/logs"; pkill -f -- "$runs/"; exit 1; }
done
echo "$(($(date +%s) - began)) s: done"
