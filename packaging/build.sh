#!/usr/bin/env bash
# Builds the programs once and packs them twice: target/packages/*.deb and *.rpm.
#   PROFILE=release|dev packaging/build.sh
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
folder=$([ "$profile" = dev ] && echo debug || echo "$profile")

cargo build --locked --profile "$profile" --bins
# Manual pages are compressed by the .deb's rules; the .rpm takes them as they are here.
rm -rf target/packages
mkdir -p target/packages
cargo deb --quiet --locked --no-build --profile "$profile" --output target/packages/
cargo generate-rpm --profile "$folder" --auto-req builtin --output target/packages/
ls -l target/packages
