#!/bin/sh
# Makes .venv from requirements.txt, once, and again when the lock, the Python or TORCH changes.
# `make setup` calls it: sh tools/setup.sh PYTHON TORCH KEEP; KEEP is empty when PYTHON was named by hand.
set -eu
cd "$(dirname "$0")/.."
CHOICE=.venv/.choice READY=.venv/.ready  # CHOICE is written first and READY last: CHOICE alone means a killed set-up
OF_TORCH='^(torch|torchvision|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)=='
trap 'status=$?; [ $status = 0 ] || echo "make: .venv is not set up; the reason stands above." >&2; exit $status' EXIT
stop() {
    echo "make: $1" >&2
    exit 1
}

python=$1 torch=$2
if [ -f $CHOICE ]; then
    [ -z "$3" ] || python=$(command -v "$(sed -n 1p $CHOICE)" || echo "$1")
    torch=${torch:-$(sed -n 2p $CHOICE)}
fi
torch=${torch:-pinned}
case $torch in pinned | installed) ;; *) stop "TORCH must be \`pinned\` or \`installed\`, not \`$torch\`." ;; esac
python=$(command -v "$python") ||
    stop "no '$1' was found; install Python 3.11, 3.12 or 3.13, or name it: make book PYTHON=/path/to/python3"
choice=$(printf '%s\n' "$python" "$torch" "$PWD")
inputs=$(cat requirements.txt pyproject.toml tools/setup.sh | cksum)

reuse=
if [ -x .venv/bin/uv ] && .venv/bin/python -c "" 2>/dev/null; then
    if [ -f $READY ] && [ "$(cat $CHOICE)" = "$choice" ]; then
        [ "$(cat $READY)" != "$inputs" ] || exit 0
        reuse=yes
    elif [ ! -f $READY ] && [ ! -f $CHOICE ] && [ "$torch" = pinned ]; then
        reuse=yes  # made by hand
    fi
fi
if [ -z "$reuse" ] && ! "$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"; then
    stop "the book needs Python 3.11, 3.12 or 3.13, but $python is $("$python" --version 2>&1); name another one with
\`make book PYTHON=/path/to/python3.12\`."
fi
if [ "$torch" = installed ]; then
    folders=$("$python" -c "import os, torch, torchvision
assert tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 6), 'torch ' + torch.__version__ + ' is too old'
print('\n'.join({os.path.dirname(os.path.dirname(m.__file__)) for m in (torch, torchvision)}))") ||
        stop "TORCH=installed needs torch 2.6 or newer, and its torchvision, in $python."
fi

echo "Setting up .venv (once; again only when the lock changes) ..."
[ -n "$reuse" ] || rm -rf .venv
mkdir -p .venv
echo "$choice" >$CHOICE
rm -f $READY
if [ -z "$reuse" ]; then
    "$python" -m venv $([ "$torch" = pinned ] || echo --system-site-packages) .venv
    awk '/^[a-z0-9]/ { keep = $0 ~ /^uv==/ } keep' requirements.txt >.venv/uv.txt
    .venv/bin/python -m pip install -qI --disable-pip-version-check --require-hashes -r .venv/uv.txt
fi
cp requirements.txt .venv/lock.txt
if [ "$torch" = installed ]; then  # it may lie in another environment: a .pth line shows it to ours
    awk -v names="$OF_TORCH" '/^[a-z0-9]/ { keep = $0 !~ names } keep' requirements.txt >.venv/lock.txt
    echo "$folders" >"$(echo .venv/lib/python*/site-packages)/kept_torch.pth"
fi
.venv/bin/uv pip sync --python .venv/bin/python --require-hashes .venv/lock.txt
.venv/bin/uv pip install --python .venv/bin/python --no-deps --no-build-isolation -e .
.venv/bin/python -c "import torch, vaecore, jupyter_book"
echo "$inputs" >$READY
