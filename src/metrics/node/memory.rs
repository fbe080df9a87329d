//! Memory: `/proc/meminfo`, `/proc/vmstat`, and what waiting costs (`/proc/pressure`).

use std::borrow::Cow;

use crate::metrics::exposition::{Exposition, Kind, Number};
use crate::model::{Counter, Pressure};

/// The kernel counts what tasks waited in microseconds.
const MICROSECOND_DIGITS: usize = 6;

pub(super) fn write(to: &mut Exposition, fields: &[Counter]) {
    for field in fields {
        let unit = if field.is_bytes { "_bytes" } else { "" };
        let name = ["node_memory_", &metric_name(&field.name), unit].concat();
        to.single(&name, Kind::Gauge, &["/proc/meminfo: ", &field.name, "."].concat(), field.value);
    }
}

pub(super) fn write_vmstat(to: &mut Exposition, fields: &[Counter]) {
    for field in fields {
        let name = ["node_vmstat_", &metric_name(&field.name)].concat();
        to.single(&name, Kind::Untyped, &["/proc/vmstat: ", &field.name, "."].concat(), field.value);
    }
}

/// `Active(anon)` is `Active_anon`; what else cannot stand in a name is an underscore.
fn metric_name(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return name.into();
    }
    name.chars().filter(|c| *c != ')').map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>().into()
}

pub(super) fn write_pressure(to: &mut Exposition, cpu: Option<&Pressure>, io: Option<&Pressure>, memory: Option<&Pressure>) {
    let some = |p: &Pressure| p.some_total_us;
    let full = |p: &Pressure| p.full_total_us;
    let mut put = |name, help, us: Option<u64>| {
        if let Some(us) = us {
            to.single(name, Kind::Counter, help, Number::Scaled(us, MICROSECOND_DIGITS));
        }
    };
    put("node_pressure_cpu_waiting_seconds_total", "Time in which some task waited for a CPU.", cpu.map(some));
    put("node_pressure_io_waiting_seconds_total", "Time in which some task waited for io.", io.map(some));
    put("node_pressure_io_stalled_seconds_total", "Time in which all tasks waited for io.", io.map(full));
    put("node_pressure_memory_waiting_seconds_total", "Time in which some task waited for memory.", memory.map(some));
    put("node_pressure_memory_stalled_seconds_total", "Time in which all tasks waited for memory.", memory.map(full));
}

pub(super) fn write_irq_pressure(to: &mut Exposition, stalled_us: u64) {
    let help = "Time in which no task of a CPU got on for interrupts.";
    to.single("node_pressure_irq_stalled_seconds_total", Kind::Counter, help, Number::Scaled(stalled_us, MICROSECOND_DIGITS));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_node_exporters_names() {
        let field = |name: &str, is_bytes| Counter { name: name.into(), value: 3, is_bytes };
        let mut to = Exposition::default();
        write(&mut to, &[field("Active(anon)", true), field("HugePages_Total", false), field("odd name:", true)]);
        write_vmstat(&mut to, &[field("pgmajfault", false)]);
        let text = String::from_utf8_lossy(to.written()).into_owned();
        let series: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(
            series,
            [
                "node_memory_Active_anon_bytes 3",
                "node_memory_HugePages_Total 3",
                "node_memory_odd_name__bytes 3",
                "node_vmstat_pgmajfault 3"
            ]
        );
        assert!(text.contains("# TYPE node_vmstat_pgmajfault untyped\n"), "{text}");
    }

    #[test]
    fn pressure_that_was_not_read_has_no_series() {
        let io =
            Pressure { some_avg10: 1.0, some_avg60: 1.0, full_avg10: 0.0, full_avg60: 0.0, some_total_us: 1_500_000, full_total_us: 20 };
        let mut to = Exposition::default();
        write_pressure(&mut to, None, Some(&io), None);
        let text = String::from_utf8_lossy(to.written()).into_owned();
        let series: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(series, ["node_pressure_io_waiting_seconds_total 1.500000", "node_pressure_io_stalled_seconds_total 0.000020"]);
    }
}
