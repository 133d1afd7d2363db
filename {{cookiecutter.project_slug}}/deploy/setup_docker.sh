#!/usr/bin/env bash
# Build the image that deploy/docker/Dockerfile describes and push it to ECR; with nothing changed
# since the last time, do nothing. Takes docker, podman or buildah, whichever is there.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" -m batcat_runtime image
