#!/usr/bin/env bash
# `make run`: a filesystem fills up, BytePort heals it, tells the story, and a collector shows it. Live, on a scratch filesystem of its own.
#
# What it touches: one folder below $TMPDIR, one loop device, one private mount namespace, three ports on loopback. All of it is
# gone afterwards. ONCE=1 ends by itself, with 0 only when the incident was healed and verified.
set -euo pipefail

say() { printf '%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }
die() { printf '%s%s%s\n' "$red" "$*" "$plain" >&2; exit 1; }

bold='' dim='' red='' green='' yellow='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
fi

[ "$(id -u)" = 0 ] || die "A loop device and a mount namespace need root: sudo make run"

if [ -z "${BYTEPORT_DEMO_SCRATCH:-}" ]; then
    cd "$(dirname "$0")/.."
    say "Building BytePort …"
    cargo build --locked --quiet --bins
    BYTEPORT_DEMO_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/byteport-demo.XXXXXX")
    export BYTEPORT_DEMO_SCRATCH
    # Copied, so that the agent's user can run them wherever this repository lies.
    mkdir "$BYTEPORT_DEMO_SCRATCH/bin"
    target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    cp "$target"/debug/byteport-agent "$target"/debug/byteport-actuator "$target"/debug/byteportctl "$target"/debug/byteport-collector "$BYTEPORT_DEMO_SCRATCH/bin/"
    exec unshare --mount --propagation private "$0"
fi

scratch=$BYTEPORT_DEMO_SCRATCH
mount=$scratch/srv
loop='' agent='' actuator='' collector='' follower=''

ended() { # ended PID: asked to stop, then made to
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

clean_up() {
    set +e
    trap '' INT TERM
    ended "$follower"
    ended "$agent"
    ended "$actuator"
    ended "$collector"
    umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null
    [ -z "$loop" ] || losetup -d "$loop"
    # Never through a mount that would not go.
    rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- A filesystem that has been in use for weeks: 256 MiB, two thirds full, with logs, archives and leftovers of all ages.
age_of() { # age_of DAYS FILE…: for the moment when the image is made
    local days=$1 file
    shift
    for file in "$@"; do
        touch -d "$days days ago" "$file"
        printf '%s %s\n' "$days" "${file#"$scratch/tree"}" >>"$scratch/ages"
    done
}

say "A scratch filesystem: 256 MiB of ext4, in use for weeks …"
chmod 755 "$scratch"
mkdir -p "$scratch/tree/log" "$scratch/tree/tmp" "$scratch/tree/data" "$mount"
for day in 10 11 12 13; do
    seq 1 60000 | sed "s/.*/2026-01-$day 12:00:00 web-1 request id=& path=\/api\/v1\/orders status=200 ms=12/" >"$scratch/tree/log/requests-$day.log"
    age_of "$day" "$scratch/tree/log/requests-$day.log"
done
for n in 1 2 3 4 5 6 7 8; do
    head -c 4M /dev/urandom >"$scratch/tree/log/orders-web.$n.gz"
    age_of $((20 + n)) "$scratch/tree/log/orders-web.$n.gz"
    head -c 5M /dev/urandom >"$scratch/tree/tmp/upload-$n.part"
    age_of 3 "$scratch/tree/tmp/upload-$n.part"
done
head -c 40M /dev/urandom >"$scratch/tree/data/orders.db"
age_of 1 "$scratch/tree/data/orders.db"

truncate -s 256M "$scratch/image"
mkfs.ext4 -q -F -d "$scratch/tree" "$scratch/image"
# The time of the last change of an inode can be set from outside only, and counts for what is old.
awk -v now="$(date +%s)" '{ printf "set_inode_field %s ctime @%d\n", $2, now - $1 * 86400 }' "$scratch/ages" >"$scratch/ages.debugfs"
debugfs -w -f "$scratch/ages.debugfs" "$scratch/image" >/dev/null 2>&1
rm -rf "$scratch/tree"
loop=$(losetup -f --show "$scratch/image")
mount "$loop" "$mount"

# --- Both programs, as the packages run them: the agent as a user of its own with three capabilities, the actuator as root.
group=$(id -g nobody)
# Three that nobody listens on.
mapfile -t ports < <(for p in $(seq 19634 19734); do (: <"/dev/tcp/127.0.0.1/$p") 2>/dev/null || echo "$p"; done)
port=${ports[0]} agents=${ports[1]} pages=${ports[2]}
install -d -m 1775 -o root -g "$group" "$scratch/run"
install -d -m 0700 -o nobody -g "$group" "$scratch/state"
install -d -m 0700 "$scratch/actuator"
install -d -m 0700 -o nobody -g "$group" "$scratch/collector"
mkdir "$scratch/etc"
cat >"$scratch/etc/collector.toml" <<END
state_dir = "$scratch/collector"
agents_listen = "127.0.0.1:$agents"
people_listen = "127.0.0.1:$pages"
heartbeat_interval = "10s"
END
limits="mounts = [\"$mount\"]
log_roots = [\"$mount/log\"]
tmp_roots = [\"$mount/tmp\"]"
cat >"$scratch/etc/agent.toml" <<END
mode = "act"
allow = ["disk"]
state_dir = "$scratch/state"
socket = "$scratch/run/agent.sock"
actuator_socket = "$scratch/run/actuator.sock"
listen = "127.0.0.1:$port"
sample_interval = "1s"
[disk.limits]
$limits
END
cat >"$scratch/etc/actuator.toml" <<END
allow = ["disk"]
agent_user = "nobody"
state_dir = "$scratch/actuator"
socket = "$scratch/run/actuator.sock"
[disk]
$limits
END
export BYTEPORT_SOCKET=$scratch/run/agent.sock
ctl() { "$scratch/bin/byteportctl" "$@"; }

# Not connected to a journal here: both log to their files, which are shown as they grow.
unset JOURNAL_STREAM NOTIFY_SOCKET
"$scratch/bin/byteport-actuator" --config "$scratch/etc/actuator.toml" >"$scratch/actuator.log" 2>&1 &
actuator=$!
setpriv --reuid=nobody --regid="$group" --clear-groups --inh-caps=-all,+dac_read_search,+sys_ptrace,+syslog \
    --ambient-caps=-all,+dac_read_search,+sys_ptrace,+syslog --bounding-set=-all,+dac_read_search,+sys_ptrace,+syslog \
    "$scratch/bin/byteport-agent" --config "$scratch/etc/agent.toml" >"$scratch/agent.log" 2>&1 &
agent=$!
nobody() { setpriv --reuid=nobody --regid="$group" --clear-groups --inh-caps=-all --bounding-set=-all "$@"; }
nobody "$scratch/bin/byteport-collector" serve --config "$scratch/etc/collector.toml" >"$scratch/collector.log" 2>&1 &
collector=$!

failed() {
    printf '\n%s%s%s\n' "$red" "$1" "$plain" >&2
    tail -n 20 "$scratch/agent.log" "$scratch/actuator.log" "$scratch/collector.log" >&2 || true
    exit 1
}
wait_for() { # wait_for SECONDS WHAT COMMAND…
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "$agent" 2>/dev/null || failed "The agent has ended."
        kill -0 "$actuator" 2>/dev/null || failed "The actuator has ended."
        kill -0 "$collector" 2>/dev/null || failed "The collector has ended."
        [ $SECONDS -lt $until ] || failed "$what: not within the time."
        sleep 0.2
    done
}
wait_for 30 "The agent is ready" ctl status
wait_for 30 "The collector is ready" curl -sf "http://127.0.0.1:$agents/readyz"
nobody "$scratch/bin/byteport-collector" token create --config "$scratch/etc/collector.toml" 2>/dev/null |
    nobody "$scratch/bin/byteport-agent" enroll --collector "http://127.0.0.1:$agents" --token-file - --config "$scratch/etc/agent.toml" >/dev/null ||
    failed "The agent is not enrolled."

used() { df --output=pcent "$mount" | tail -n 1 | tr -d ' %'; }
echo
say "BytePort watches $mount, $(used) % used. The mount has opted in, for this demo alone."
note "  ctl:     BYTEPORT_SOCKET=$BYTEPORT_SOCKET $scratch/bin/byteportctl status"
note "  metrics: http://127.0.0.1:$port/metrics"
note "  pages:   http://127.0.0.1:$pages/"
echo

# --- What the agent logs, as it happens: the time and the message of each line of JSON.
tail -n +1 -F --pid="$agent" "$scratch/agent.log" 2>/dev/null | sed -u -n -E \
    -e 's/.*"timestamp":"[^T"]*T([0-9:]{8})[^"]*".*"message":"(([^"\\]|\\.)*)".*/\1 \2/' \
    -e 't show' -e 'b' -e ':show' \
    -e '/^[0-9:]+ (cpu|memory)-/d' -e 's/\\n.*//' -e 's/\\"/"/g' -e 's/^([0-9:]+) disk-[0-9a-f-]+: /\1 /' -e 's#disk-[0-9a-f-]+/([0-9.]+)#step \1#g' \
    -e "s/^([0-9:]+) /$dim\1$plain /" \
    -e "s/(refused|not resolved|a person is needed)/$yellow\1$plain/" \
    -e "s/(opened for|freed|verified, resolved|closed, healed)/$green\1$plain/" -e p &
follower=$!
sleep 2

say "A service writes 77 MiB of log in a moment …"
head -c 77M /dev/zero | tr '\0' 'x' >"$mount/log/today.log"
sync -f "$mount"
say "$mount is $(used) % used."
echo

# This machine may have other incidents as well: building takes processors.
closed() { ctl incidents show disk --json | grep -q '"outcome": *"'; }
wait_for 240 "The incident is closed" closed
sleep 1
ended "$follower"
follower=''

echo
ctl incidents show disk || true
echo
ctl incidents show disk --json | grep -q '"outcome": *"healed"' || failed "The incident was not healed."
shown() { curl -sf "http://127.0.0.1:$pages/api/v1/incidents?runbook=disk" | grep -q '"outcome":"healed"'; }
wait_for 60 "The incident is on the collector's page" shown
page=$(curl -sf "http://127.0.0.1:$pages/incidents?runbook=disk" | grep -o '/incidents/[0-9a-f]*/disk-[0-9a-f-]*' | head -n 1)
say "${green}Healed and verified: $mount is $(used) % used.$plain"
say "Its page: http://127.0.0.1:$pages$page"
[ -z "${ONCE:-}" ] || exit 0

echo
echo "All programs go on. In another terminal:"
echo "  export BYTEPORT_SOCKET=$BYTEPORT_SOCKET PATH=$scratch/bin:\$PATH"
echo "  byteportctl status"
echo "  byteportctl explain disk"
echo "  byteportctl bundle disk -o incident.bundle && byteportctl replay incident.bundle"
echo "Ctrl-C ends them and takes everything away."
wait "$agent"
