# docs/collector.md, "From zero to a fleet", to the letter where it speaks of one host; what it came to goes to /harness/out.
out=/harness/out
within() { # within SECONDS COMMAND...
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $until ] || return 1; sleep 0.5; done
}
systemctl is-system-running --wait >/dev/null

DEBIAN_FRONTEND=noninteractive dpkg -i /harness/collector.deb || exit 1
within 60 systemctl is-active -q byteport-collector
echo "$(systemctl is-enabled byteport-collector) $(systemctl is-active byteport-collector)" >"$out/fresh"
DEBIAN_FRONTEND=noninteractive dpkg -i /harness/agent.deb || exit 1

setpriv --reuid=byteport-collector --regid=byteport-collector --clear-groups \
    byteport-collector token create --uses 100 --expires 24h >/root/join.token || exit 1
byteport-agent enroll --collector http://127.0.0.1:9635 --token-file /root/join.token || exit 1

# The running agent takes it up by itself.
heard() { ask 9636 /api/v1/fleet | grep -q '"seen_at":"'; }
ask() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/$0; printf "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" "$1" >&3; cat <&3' "$1" "$2" | sed '1,/^\r$/d'; }
within 60 heard
ask 9636 /api/v1/fleet >"$out/fleet.json"
ask 9636 / >"$out/page"
byteportctl status >"$out/status.text"
# Something to tell: a row of the host itself.
byteportctl pause --for 1s >/dev/null
sent() { byteportctl status --json | grep -q '"waiting": *0'; }
sleep 3
within 60 sent
setpriv --reuid=byteport-collector --regid=byteport-collector --clear-groups byteport-collector audit verify >"$out/verified" 2>&1
echo $? >"$out/verified.code"
cd /var/lib/byteport-collector || exit 1
setpriv --reuid=byteport-collector --regid=byteport-collector --clear-groups byteport-collector backup create /var/lib/byteport-collector/backup.db &&
    setpriv --reuid=byteport-collector --regid=byteport-collector --clear-groups byteport-collector backup verify /var/lib/byteport-collector/backup.db >"$out/backup" 2>&1
echo $? >"$out/backup.code"
cd /
stat -c '%n %A %U:%G' /var/lib/byteport-collector/* /var/lib/byteport/* >"$out/places"
systemd-analyze security --no-pager byteport-collector.service >"$out/security" 2>&1
systemctl --failed --no-legend --plain >"$out/failed"
journalctl --no-pager >"$out/journal"

dpkg --purge byteport-collector || exit 1
ls -d /var/lib/byteport-collector /etc/byteport/collector.toml 2>/dev/null >"$out/left"
ls -A /etc/byteport >"$out/agent.left"
exit 0
