#!/usr/bin/env bash
# The whole deployment, in order. Safe to run again: what has not changed stays as it is.
# `make rehearse` runs this very file against an embedded AWS on your machine. `batcat plan` runs it
# too, with BATCAT_PLAN set, to see what it would do: put [ -n "${BATCAT_PLAN:-}" ] || before lines
# of your own that change something.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then PYTHON="$PWD/.venv/bin/python"; fi
export PYTHON="${PYTHON:-python3}"

bash deploy/setup_docker.sh              # the image, into ECR
"$PYTHON" deploy/setup_stepfunctions.py  # the workflow: roles, log group, state machine
"$PYTHON" deploy/setup_lambda.py         # the trigger: Lambda function and schedule
