#!/usr/bin/env bash
# Builds the programs once and packs them twice, for hosts and for the collector: target/packages/*.deb and *.rpm.
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
for program in byteport-agent byteport-actuator byteportctl byteport-collector; do
    strip -o "target/packed/$program" "$target/$folder/$program"
done
cp -r "$target/assets/man" "$target/assets/completions" target/packed/
for part in man completions; do
    mkdir -p "target/packed/collector/$part"
    find "target/packed/$part" -name '*byteport-collector*' -exec mv -t "target/packed/collector/$part" {} +
done

for variant in "" collector; do
    [[ $kinds != *" deb "* ]] || cargo deb --quiet --locked --no-build --no-strip ${variant:+--variant "$variant"} "${deb[@]}" --output target/packages/
    [[ $kinds != *" rpm "* ]] || cargo generate-rpm --auto-req builtin ${variant:+--variant "$variant"} "${rpm[@]}" --output target/packages/
done
ls -l target/packages
