#!/usr/bin/env bash
# Builds the programs once and packs them twice: target/packages/*.deb and *.rpm.
#   PROFILE=release|dev packaging/build.sh [deb] [rpm]
# dev is for tests: the programs that are there already, packed quickly instead of tightly.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
kinds=" ${*:-deb rpm} "
folder=$profile deb=() rpm=()
if [ "$profile" = dev ]; then
    folder=debug deb=(--fast) rpm=(--payload-compress none)
fi

cargo build --locked --profile "$profile" --bins
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# Both packers take the same stripped files, whatever they were built with.
rm -rf target/packed target/packages
mkdir -p target/packed target/packages
for program in byteport-agent byteport-actuator byteportctl; do
    strip -o "target/packed/$program" "$target/$folder/$program"
done
cp -r "$target/assets/man" "$target/assets/completions" target/packed/

[[ $kinds != *" deb "* ]] || cargo deb --quiet --locked --no-build --no-strip "${deb[@]}" --output target/packages/
[[ $kinds != *" rpm "* ]] || cargo generate-rpm --auto-req builtin "${rpm[@]}" --output target/packages/
ls -l target/packages
