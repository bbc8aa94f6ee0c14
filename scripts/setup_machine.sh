#!/usr/bin/env bash
# What the tests of the whole machine need beside the development environment: a browser, and network namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
ensure_packages chromium fonts-dejavu-core iproute2 util-linux
