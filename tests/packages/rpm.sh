# The .rpm's scriptlets on a real systemd, as rpm calls them; its files come as a tar.
out=/harness/out
state() {
    for unit in byteport-agent byteport-actuator; do
        echo "$unit $(systemctl is-enabled $unit 2>/dev/null) $(systemctl is-active $unit) $(systemctl show -P MainPID $unit)"
    done >"$out/$1"
}
systemctl is-system-running --wait >/dev/null
tar -C / --keep-directory-symlink -xf /harness/files.tar || exit 1
sh -e /harness/post 1 || exit 1
state fresh
getent passwd byteport >"$out/user"
systemctl start byteport-agent
state started
# An upgrade: the new package's post, then the old one's preun and postun.
sh -e /harness/post 2 && sh -e /harness/preun 1 && sh -e /harness/postun 1 || exit 1
state upgraded
sh -e /harness/preun 0 || exit 1
state stopping
ls -d /var/lib/byteport >"$out/kept" || exit 1
sh -e /harness/postun 0
