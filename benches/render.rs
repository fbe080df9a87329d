//! What a page costs: rendering one sample of this host, and packing it as scrapers ask for it.
//!
//! `cargo bench --bench render`. CPU time of this thread, medians; the floor is copying the finished page once more, which no
//! rendering can do without.

#[allow(dead_code, reason = "the tests use their own part of it")]
#[path = "../tests/support/readings.rs"]
mod readings;

use byteport::metrics::{Encoding, Format, Metrics, Own};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 2000;

/// Median CPU time in microseconds.
fn median(mut work: impl FnMut()) -> f64 {
    let now = || {
        let at = clock_gettime(ClockId::ThreadCPUTime);
        at.tv_sec as f64 * 1e6 + at.tv_nsec as f64 / 1e3
    };
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = now();
            work();
            now() - begun
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn main() {
    let sample = readings::sample();
    let own = Own {
        raised: &[],
        sources: &[],
        stretch: 1.0,
        cooldowns: 0,
        psi_mode: "polling",
        state_bytes: 0,
        kernel_log: None,
        journal: None,
        acting: false,
        collector: None,
    };
    let metrics = Metrics::new("0");
    let render = median(|| metrics.sample(&sample, &own, true));
    let page = metrics.page();
    let text = page.get(Format::Text, Encoding::Identity);
    let copy = median(|| drop(std::hint::black_box(text.to_vec())));
    let series = text.split(|b| *b == b'\n').filter(|l| !l.is_empty() && !l.starts_with(b"#")).count();
    println!("one sample: {series} series, {} bytes", text.len());
    println!("rendered in {render:.1} us, copied in {copy:.1} us: {:.0} x", render / copy);
    for (format, encoding) in [
        (Format::OpenMetrics, Encoding::Identity),
        (Format::Text, Encoding::Gzip),
        (Format::Text, Encoding::Zstd),
        (Format::OpenMetrics, Encoding::Gzip),
        (Format::OpenMetrics, Encoding::Zstd),
    ] {
        // A new page each round: a form is made once.
        let mut bytes = 0;
        let both = median(|| {
            metrics.sample(&sample, &own, true);
            bytes = metrics.page().get(format, encoding).len();
        });
        println!("{format:?} as {}: {bytes} bytes, {:.1} us more, once a sample at most", encoding.as_str(), both - render);
    }
}
