#!/usr/bin/env bash
# The whole deployment: image, roles, workflow, trigger. This is `batcat deploy`, which is safe to
# run again: what has not changed stays as it is. The parts can be deployed alone, too:
#   bash deploy/setup_docker.sh; python deploy/setup_stepfunctions.py; python deploy/setup_lambda.py
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then PYTHON="$PWD/.venv/bin/python"; fi
exec "${PYTHON:-python3}" -m batcat_runtime deploy "$@"
