#!/bin/sh
# Build the folder dist/peerllm with PyInstaller, from a wheel: an editable install hides its modules.
# Usage: packaging/build.sh [PYTHON]   with a Python that has peerllm[desktop] and pyinstaller.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${1:-"$here/../.venv/bin/python"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work" "$here/.."
"$python" -m pip install --quiet --no-deps --target "$work/package" "$work"/peerllm-*.whl
cd "$here"
PYTHONPATH="$work/package${PYTHONPATH:+:$PYTHONPATH}" "$python" -m PyInstaller --noconfirm \
    --distpath "$here/../dist" --workpath "$work/build" desktop.spec
