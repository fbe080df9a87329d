//! A history in one line: a block for each stretch of time, as high as its highest value; a blank where nothing is known.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Drawn as wide as there is room, at any time the same for the same stretch of time: stretches begin with the clock, not with the newest
/// value, so that what is drawn moves along and does not dance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// Even steps since boot: number of the newest one.
    newest: u64,
    /// Of how many steps it is when all are known.
    steps: usize,
    /// Oldest first, 0 to 7.
    levels: Vec<Option<u8>>,
}

impl Curve {
    /// Fewer steps a place would tear holes where samples are taken more rarely than wished.
    const FEWEST: usize = 2;

    /// `values` end with step `newest`, and fill the scale.
    pub(super) fn new(values: impl Iterator<Item = Option<f32>>, newest: u64, steps: usize, (from, to): (f32, f32)) -> Self {
        // The cast is of 0..7.
        let level = |v: f32| ((v - from) / (to - from) * 7.0).round().clamp(0.0, 7.0) as u8;
        Self { newest, steps, levels: values.map(|v| v.filter(|v| v.is_finite()).map(level)).collect() }
    }

    /// More places than this it does not fill.
    pub fn most(&self) -> usize {
        self.steps.div_ceil(Self::FEWEST)
    }

    /// The newest at the right edge.
    pub fn drawn(&self, places: usize) -> String {
        let each = self.steps.div_ceil(places.max(1)).max(Self::FEWEST);
        let last = self.newest / each as u64;
        let mut highest: Vec<Option<u8>> = vec![None; places];
        for (back, level) in self.levels.iter().rev().enumerate() {
            let Some(stretch) = self.newest.checked_sub(back as u64).map(|step| last - step / each as u64) else { break };
            let Some(place) = usize::try_from(stretch).ok().and_then(|back| places.checked_sub(back + 1)) else { break };
            highest[place] = highest[place].max(*level);
        }
        highest.into_iter().map(|level| level.map_or(' ', |level| BLOCKS[usize::from(level.min(7))])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: &[Option<f32>], newest: u64, steps: usize) -> Curve {
        Curve::new(values.iter().copied(), newest, steps, (0.0, 70.0))
    }

    #[test]
    fn each_place_is_the_highest_of_its_time_and_a_hole_stays_a_hole() {
        let some = |v: f32| [Some(v), Some(0.0)];
        let values = [some(0.0), some(70.0), [None, None], [Some(30.0), None], some(700.0), some(-5.0)].concat();
        for (places, expected) in [(6, "▁█ ▄█▁"), (8, "  ▁█ ▄█▁"), (3, "█▄█"), (1, "█"), (0, "")] {
            assert_eq!(curve(&values, 11, 12).drawn(places), expected, "{places}");
        }
        assert_eq!(curve(&[Some(f32::NAN), None, Some(f32::INFINITY)], 5, 12).drawn(6), "      ");
        assert_eq!(curve(&[Some(7.0)], 3, 12).drawn(6), "     ▂", "what has just begun is at the right");
        assert_eq!(curve(&[Some(7.0); 9], 0, 12).drawn(3), "  ▂", "there is no time before the boot");
    }

    #[test]
    fn what_was_drawn_moves_along_whole() {
        let wave = |n: u64| Some((n * n % 71) as f32);
        let at = |newest: u64| curve(&(newest - 179..=newest).map(wave).collect::<Vec<_>>(), newest, 180).drawn(30);
        // Six steps a place; in the middle of a stretch only the newest place changes.
        let (begun, later, next) = (at(600), at(605), at(606));
        assert_eq!(begun.chars().skip(1).take(28).collect::<String>(), later.chars().skip(1).take(28).collect::<String>());
        assert_eq!(later.chars().skip(2).collect::<String>(), next.chars().skip(1).take(28).collect::<String>());
    }
}
