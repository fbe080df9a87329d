//! What goes wrong, and what stands beside it: small programs in the language that every Debian has (perl), and units around them.
//!
//! Put into the machine by [`Host::faults`], so that the image does not change with them.

use std::fmt::Write as _;

use crate::host::Host;

/// Part of what a saved state is good for.
pub const RECIPE: &str = include_str!("faults.rs");

/// Programs, by name.
const PROGRAMS: &[(&str, &str)] = &[
    // leak MIB EVERY_S MOST_MIB: takes so much, so often, until it has that much; and keeps it.
    ("leak", "my ($mib, $every, $most) = @ARGV; my @kept; while (1) { if (@kept * $mib < $most) { my $x = \"\\1\" x ($mib << 20); push @kept, \\$x } select undef, undef, undef, $every }"),
    // saw MIB EVERY_S MOST_MIB: the same, and gives all of it back when it has that much.
    ("saw", "my ($mib, $every, $most) = @ARGV; my @kept; while (1) { @kept = () if @kept * $mib >= $most; my $x = \"\\1\" x ($mib << 20); push @kept, \\$x; select undef, undef, undef, $every }"),
    // sick NAME MOST_MIB: grows by 60 KiB a second; by 4 MiB a second once there is /run/leak-NAME, up to that much; and spins while there is
    // /run/spin-NAME. In a life after the first it is well, unless there is /run/always.
    ("sick", "my ($name, $most) = @ARGV; my @kept; my $has = 0; my $well = -e \"/run/$name-was-here\" && !-e '/run/always'; open my $f, '>', \"/run/$name-was-here\"; close $f;
while (1) { if (!$well && -e \"/run/spin-$name\") { for (1 .. 200000) {} next }
my $kib = !$well && -e \"/run/leak-$name\" ? 2048 : 30; if (!$well && $has < $most << 10) { my $x = \"\\1\" x ($kib << 10); push @kept, \\$x; $has += $kib } select undef, undef, undef, 0.5 }"),
    // hold MIB: has so much and uses all of it, again and again.
    ("hold", "my $n = $ARGV[0] << 20; my $x = \"\\1\" x $n; while (1) { for (my $at = 0; $at < $n; $at += 4096) { vec($x, $at, 8) = 2 } sleep 2 }"),
    // workers N PROGRAM ARGUMENT...: a parent with so many children of its own, and it waits for them.
    ("workers", "my ($n, @run) = @ARGV; for (1 .. $n) { my $pid = fork; if (!$pid) { exec @run or exit 1 } } 1 while wait > 0"),
    // spin [SECONDS]: one processor, flat out, and nothing else.
    ("spin", "my $end = $ARGV[0] ? time + $ARGV[0] : 0; while (1) { for (1 .. 100000) {} exit 0 if $end && time > $end }"),
    // work FOLDER: busy, and something comes of it: it writes what it has worked out.
    ("work", "my $f = \"$ARGV[0]/result\"; while (1) { my $s = 0; $s += $_ * $_ for 1 .. 20000; open my $o, '>>', $f or die; syswrite $o, \"$s\\n\" x 4000; close $o; truncate $f, 0 if -s $f > 8 << 20 }"),
    // bomb SECONDS: forks as fast as it may, and so do its children; each ends soon, and all of them for good.
    ("bomb", "my $end = time + $ARGV[0]; while (time < $end) { my $pid = fork; if (!defined $pid) { select undef, undef, undef, 0.01 } elsif (!$pid) { select undef, undef, undef, 2; exit 0 } 1 while waitpid(-1, 1) > 0 }"),
    // storm SECONDS: starts children that end at once, one after the other.
    ("storm", "my $end = time + $ARGV[0]; while (time < $end) { for (1 .. 20) { my $pid = fork; exit 0 if defined $pid && !$pid } 1 while waitpid(-1, 1) > 0 }"),
    // watch EVERY_S: boot clock, available and free swap in KiB, microseconds of some and full pressure, OOM kills. Its pages are locked.
    ("watch", "syscall(151, 3); $| = 1; my %f; for (qw(uptime meminfo pressure/memory vmstat)) { open $f{$_}, '<', \"/proc/$_\" or die $_ }
sub text { my $b = ''; sysseek $f{$_[0]}, 0, 0; sysread $f{$_[0]}, $b, 65536; $b }
while (1) { my ($up) = text('uptime') =~ /^(\\S+)/; my $m = text('meminfo'); my ($avail) = $m =~ /MemAvailable: +(\\d+)/; my ($swap) = $m =~ /SwapFree: +(\\d+)/;
my ($some, $full) = text('pressure/memory') =~ /total=(\\d+)/g; my ($kills) = text('vmstat') =~ /^oom_kill (\\d+)/m; print \"$up $avail $swap $some $full $kills\\n\"; select undef, undef, undef, $ARGV[0] }"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// `[X-Byteport] Restart=safe` in a drop-in.
    Given,
    None,
}

/// A unit of a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    pub name: &'a str,
    pub run: &'a str,
    /// More lines of its `[Service]`.
    pub lines: &'a str,
    pub consent: Consent,
}

impl Unit<'_> {
    fn script(&self) -> String {
        let Unit { name, run, lines, .. } = self;
        let mut text = format!(
            "cat >/etc/systemd/system/{name} <<'END'\n[Service]\nExecStart={run}\n{lines}\n[Install]\nWantedBy=multi-user.target\nEND\nmkdir -p /etc/systemd/system/{name}.d\n"
        );
        if self.consent == Consent::Given {
            let _ = writeln!(text, "printf '[X-Byteport]\\nRestart=safe\\n' >/etc/systemd/system/{name}.d/byteport.conf");
        }
        text
    }
}

impl Host<'_> {
    /// The programs in `/usr/local/bin`, and a kernel that does not take a slow machine for a hung one.
    pub fn faults(&mut self) {
        let mut script = String::from("sysctl -q kernel.watchdog_thresh=60 vm.overcommit_memory=1\n");
        for (name, program) in PROGRAMS {
            let _ = write!(script, "cat >/usr/local/bin/{name} <<'END'\n#!/usr/bin/perl\n{program}\nEND\nchmod +x /usr/local/bin/{name}\n");
        }
        self.sh(&script);
    }

    /// Known to systemd, not started.
    pub fn units(&mut self, units: &[Unit<'_>]) {
        let script: String = units.iter().map(Unit::script).collect();
        self.sh(&format!("{script}systemctl daemon-reload"));
    }

    /// `[X-Byteport] Restart=safe` for a unit that is there already.
    pub fn consents(&mut self, unit: &str) {
        self.sh(&format!("printf '[X-Byteport]\\nRestart=safe\\n' >/etc/systemd/system/{unit}.d/byteport.conf && systemctl daemon-reload"));
    }

    /// One property, as systemd has it now.
    pub fn property(&mut self, unit: &str, name: &str) -> String {
        self.sh(&format!("systemctl show --value -p {name} {unit}")).trim().to_owned()
    }
}
