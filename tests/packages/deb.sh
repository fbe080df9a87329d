# The life of the .deb on one host, in order; each part leaves its findings in /harness/out.
out=/harness/out

# What is on the disk: path, type, mode, owner, link target, and for files size. Not: what the kernel and this test bring.
disk() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /harness -o -path /var/log/journal \) -prune \
        -o -type f -printf '%p|%y|%m|%u:%g|%s\n' -o -printf '%p|%y|%m|%u:%g|%l\n' | LC_ALL=C sort
}
install() { DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i "$1"; }
state() { # state NAME: how both units are, to out/NAME
    for unit in byteport-agent byteport-actuator; do
        echo "$unit $(systemctl is-enabled $unit 2>/dev/null) $(systemctl is-active $unit) $(systemctl show -P MainPID $unit)"
    done >"$out/$1"
}

systemctl is-system-running --wait >/dev/null
sha256sum /etc/passwd /etc/group /etc/shadow /etc/gshadow >"$out/users.before"
disk >"$out/disk.before"

install /harness/old.deb || exit 1
dpkg -L byteport >"$out/owned"
disk >"$out/disk.installed"
state fresh
byteportctl status --json >"$out/status.json" 2>"$out/status.err"
echo $? >"$out/status.code"
systemd-analyze security --no-pager byteport-agent.service byteport-actuator.service >"$out/security" 2>&1
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' "/proc/$(systemctl show -P MainPID byteport-agent)/status" >"$out/rights"
stat -c '%n %A %U:%G' /run/byteport /run/byteport/* /var/lib/byteport >"$out/places"
# Who may ask, through the socket, what the agent sees.
setpriv --reuid=nobody --regid=nogroup --groups=byteport byteportctl status >"$out/status.member" 2>&1
setpriv --reuid=nobody --regid=nogroup --clear-groups byteportctl status >"$out/status.stranger" 2>&1
journalctl -t byteport-agent -o json --no-pager >"$out/journal.json"

for id in $(cat /harness/ids); do
    journalctl --dump-catalog "$id" --no-pager >"$out/catalog.$id" 2>&1
done
printf 'MESSAGE_ID=%s\nMESSAGE=opened\nSYSLOG_IDENTIFIER=byteport-test\nBYTEPORT_INCIDENT=inc-0815\nBYTEPORT_RUNBOOK=disk\n' "$(head -1 /harness/ids)" | logger --journald
journalctl --sync
journalctl -x -t byteport-test --no-pager >"$out/explained"

# With the actuator on: who reaches its socket, and what it may.
systemctl start byteport-actuator
state acting
stat -c '%n %A %U:%G' /run/byteport/* >"$out/places.acting"
setpriv --reuid=nobody --regid=nogroup --clear-groups test -w /run/byteport/actuator.sock
echo $? >"$out/nobody.reaches"
# What can be looked at and replaced in that folder by the agent's own user.
setpriv --reuid=byteport --regid=byteport --clear-groups mv /run/byteport/actuator.sock /run/byteport/moved 2>/dev/null
echo $? >"$out/agent.replaces"
systemctl stop byteport-actuator

echo '# mine' >>/etc/byteport/agent.toml
install /harness/new.deb || exit 1
state upgraded
cp /etc/byteport/agent.toml "$out/agent.toml.upgraded"
cp /etc/byteport/actuator.toml "$out/actuator.toml.upgraded"

# What an administrator stopped and disabled stays so.
systemctl disable --now byteport-agent 2>/dev/null
install /harness/new.deb || exit 1
state stopped
systemctl enable --now byteport-agent 2>/dev/null

dpkg --remove byteport || exit 1
ls -A /var/lib/byteport >"$out/kept.state"
ls -A /etc/byteport >"$out/kept.config"
ls -d /run/byteport >"$out/kept.run" 2>/dev/null
install /harness/new.deb || exit 1
state again

dpkg --purge byteport || exit 1
disk >"$out/disk.purged"
sha256sum /etc/passwd /etc/group /etc/shadow /etc/gshadow >"$out/users.purged"
ls -d /run/byteport >"$out/run.purged" 2>/dev/null
systemctl --failed --no-legend --plain >"$out/failed"
exit 0
