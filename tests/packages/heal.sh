# One incident on a host that installed the package and opted one mount in; the device is named in /harness/device.
out=/harness/out
until_true() { # until_true SECONDS COMMAND…
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "not within its time: $*" >&2; journalctl --no-pager -t byteport-agent -t byteport-actuator >&2; exit 1; }
        sleep 0.5
    done
}
systemctl is-system-running --wait >/dev/null
DEBIAN_FRONTEND=noninteractive dpkg -i /harness/old.deb || exit 1

mkdir -p /etc/byteport/agent.toml.d /etc/byteport/actuator.toml.d /srv/data
cat >/etc/byteport/agent.toml.d/50-opt-in.toml <<'END'
mode = "act"
allow = ["disk"]
sample_interval = "1s"
[disk.limits]
mounts = ["/srv/data"]
log_roots = ["/srv/data/log"]
tmp_roots = ["/srv/data/tmp"]
END
cat >/etc/byteport/actuator.toml.d/50-opt-in.toml <<'END'
allow = ["disk"]
[disk]
mounts = ["/srv/data"]
log_roots = ["/srv/data/log"]
tmp_roots = ["/srv/data/tmp"]
END
systemctl enable --now byteport-actuator || exit 1
systemctl restart byteport-agent || exit 1

# Mounted after both were started: their sandboxes have to see it all the same.
mount "$(cat /harness/device)" /srv/data || exit 1
sees() { byteportctl status --json | grep -q /srv/data; }
until_true 30 sees
df --output=pcent /srv/data | tail -1 | tr -dc 0-9 >"$out/before"
cp /harness/live /srv/data/log/today.log || exit 1
df --output=pcent /srv/data | tail -1 | tr -dc 0-9 >"$out/full"

# The processors of this machine may have incidents of their own.
closed() { byteportctl incidents show disk --json | grep -q '"outcome": *"'; }
until_true 150 closed
df --output=pcent /srv/data | tail -1 | tr -dc 0-9 >"$out/after"
byteportctl incidents --json >"$out/incidents.json"
byteportctl incidents show disk --markdown >"$out/postmortem.md"
byteportctl bundle disk -o "$out/bundle" >&2
byteportctl explain disk >"$out/explained" 2>&1
byteportctl doctor >"$out/doctor" 2>&1
id=$(grep -o '"id": *"disk-[^"]*"' "$out/incidents.json" | head -1 | cut -d '"' -f 4)
journalctl --sync
journalctl -t byteport-agent BYTEPORT_INCIDENT="$id" -o json --no-pager >"$out/story.json"
journalctl -x -t byteport-agent BYTEPORT_INCIDENT="$id" --no-pager >"$out/story"
systemctl stop byteport-agent byteport-actuator
systemctl --failed --no-legend --plain >"$out/failed"
# With nothing running, and anywhere: the same decision.
byteportctl replay "$out/bundle" >"$out/replay" 2>&1
echo $? >"$out/replay.code"
umount /srv/data
