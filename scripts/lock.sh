#!/bin/sh
# Pin every dependency with hashes for all supported platforms, one file per extra (needs `uv` on PATH).
# The files name packages only: each machine's own pip settings say where they come from.
set -eu
cd "$(dirname "$0")/.."
lock() {
    out="requirements/$1.txt"; shift
    uv pip compile --quiet pyproject.toml "$@" --universal --generate-hashes --python-version 3.11 \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file "$out"
}
everything="--extra server --extra fast --extra solar --extra plots --extra studies --extra dask --extra optimum --extra dev"
# shellcheck disable=SC2086
lock dev $everything
# The other files hold the versions that the developer's file holds.
for extra in server fast solar plots studies dask optimum; do lock "$extra" --extra "$extra" --constraint requirements/dev.txt; done
lock base --constraint requirements/dev.txt
lock bench $everything --extra bench --constraint requirements/dev.txt
