//! journald's export format: `NAME=text`, or `NAME`, a length in eight bytes and that many bytes; a blank line ends an entry.
//!
//! It is taken in pieces of any size, and no field is held beyond a fixed length, whatever it claims to be.

/// Kept of a field; a longer one is cut.
pub(super) const LONGEST_FIELD: usize = 4096;
/// journald takes no longer names.
const LONGEST_NAME: usize = 64;
const LONGEST_LINE: usize = LONGEST_NAME + 1 + LONGEST_FIELD;

/// The fields of one entry that are of use. Bytes as they were logged, cut to a fixed length; empty where the entry has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::host) struct Fields {
    pub(in crate::host) cursor: Vec<u8>,
    /// Microseconds since the epoch, by journald's own clock and not by whoever logged.
    pub(super) realtime: Vec<u8>,
    pub(super) message: Vec<u8>,
    pub(super) priority: Vec<u8>,
    pub(super) systemd_unit: Vec<u8>,
    /// What PID 1 says a message of its own is about; anybody else may claim anything.
    pub(super) unit: Vec<u8>,
    pub(super) message_id: Vec<u8>,
}

impl Fields {
    fn slot(&mut self, name: &[u8]) -> Option<&mut Vec<u8>> {
        match name {
            b"__CURSOR" => Some(&mut self.cursor),
            b"__REALTIME_TIMESTAMP" => Some(&mut self.realtime),
            b"MESSAGE" => Some(&mut self.message),
            b"PRIORITY" => Some(&mut self.priority),
            b"_SYSTEMD_UNIT" => Some(&mut self.systemd_unit),
            b"UNIT" => Some(&mut self.unit),
            b"MESSAGE_ID" => Some(&mut self.message_id),
            _ => None,
        }
    }

    /// The first of several fields of one name counts.
    fn set(&mut self, name: &[u8], value: &[u8]) {
        if let Some(slot) = self.slot(name).filter(|slot| slot.is_empty()) {
            slot.extend_from_slice(value.get(..LONGEST_FIELD).unwrap_or(value));
        }
    }
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Line,
    Length {
        name: Vec<u8>,
        bytes: [u8; 8],
        known: usize,
    },
    Data {
        name: Vec<u8>,
        left: u64,
    },
    AfterData,
}

/// Where in the stream it is, and what it holds of the entry so far.
#[derive(Debug, Default)]
pub(in crate::host) struct Export {
    place: Place,
    held: Vec<u8>,
    fields: Fields,
}

impl Export {
    /// Takes the next bytes, and hands on each entry that ends in them. Total.
    pub(in crate::host) fn feed(&mut self, mut bytes: &[u8], mut told: impl FnMut(&Fields)) {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.place {
                Place::Line => {
                    let end = bytes.iter().position(|b| *b == b'\n');
                    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    hold(&mut self.held, line, LONGEST_LINE);
                    bytes = rest;
                    if end.is_some() {
                        bytes = bytes.get(1..).unwrap_or_default();
                        self.line(&mut told);
                    }
                }
                Place::Length { name, bytes: length, known } => {
                    if let Some(slot) = length.get_mut(*known) {
                        *slot = first;
                    }
                    *known = known.saturating_add(1);
                    if *known >= length.len() {
                        self.place = Place::Data { name: std::mem::take(name), left: u64::from_le_bytes(*length) };
                        self.finish_data();
                    }
                    bytes = rest;
                }
                Place::Data { left, .. } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at(here);
                    hold(&mut self.held, data, LONGEST_FIELD);
                    *left = left.saturating_sub(here as u64);
                    bytes = rest;
                    self.finish_data();
                }
                Place::AfterData => {
                    self.place = Place::Line;
                    // Anything but the end of a line is damage: the next line is read as it is.
                    if first == b'\n' {
                        bytes = rest;
                    }
                }
            }
        }
    }

    fn line(&mut self, told: &mut impl FnMut(&Fields)) {
        let line = std::mem::take(&mut self.held);
        if line.is_empty() {
            if self.fields != Fields::default() {
                told(&self.fields);
                self.fields = Fields::default();
            }
        } else if let Some(at) = line.iter().position(|b| *b == b'=') {
            self.fields.set(line.get(..at).unwrap_or_default(), line.get(at.saturating_add(1)..).unwrap_or_default());
        } else if line.len() <= LONGEST_NAME {
            self.place = Place::Length { name: line, bytes: [0; 8], known: 0 };
            return;
        }
        // The room is used again.
        self.held = line;
        self.held.clear();
    }

    fn finish_data(&mut self) {
        if let Place::Data { name, left: 0 } = &self.place {
            self.fields.set(name, &self.held);
            self.held.clear();
            self.place = Place::AfterData;
        }
    }
}

fn hold(held: &mut Vec<u8>, bytes: &[u8], longest: usize) {
    let room = longest.saturating_sub(held.len()).min(bytes.len());
    held.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(bytes: &[u8], piece: usize) -> Vec<Fields> {
        let (mut export, mut found) = (Export::default(), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            export.feed(piece, |f| found.push(f.clone()));
        }
        found
    }

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn text_and_binary_fields_are_read_in_pieces_of_any_size() {
        let stream = [
            &b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=5\nPRIORITY=3\n_SYSTEMD_UNIT=a.service\nMESSAGE=a=b\n\n"[..],
            b"__CURSOR=s=1;i=3\n",
            &binary("MESSAGE", b"two\n\nlines=\xff\nPRIORITY=0"),
            &binary("MESSAGE_ID", b""),
            b"_SYSTEMD_UNIT=b.service\nMESSAGE=not the first\n\n\n",
        ]
        .concat();
        for piece in [1, 2, 3, 7, 64, 10_000] {
            let found = entries(&stream, piece);
            let [first, second] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(
                (first.cursor.as_slice(), first.message.as_slice(), first.priority.as_slice()),
                (&b"s=1;i=2"[..], &b"a=b"[..], &b"3"[..])
            );
            assert_eq!(second.message, b"two\n\nlines=\xff\nPRIORITY=0");
            assert_eq!((second.systemd_unit.as_slice(), second.priority.as_slice()), (&b"b.service"[..], &b""[..]));
        }
    }

    #[test]
    fn no_field_is_held_beyond_its_length() {
        let long = vec![b'x'; 3 << 20];
        let stream =
            [&b"MESSAGE="[..], &long, b"\nPRIORITY=4\n\n", &binary("MESSAGE", &long), b"PRIORITY=5\n\n", &long, b"\nPRIORITY=6\n\n"]
                .concat();
        let mut export = Export::default();
        let mut found = Vec::new();
        for piece in stream.chunks(1000) {
            export.feed(piece, |f| found.push((f.message.len(), f.priority.clone())));
            assert!(export.held.len() <= LONGEST_LINE && export.held.capacity() <= 4 * LONGEST_LINE);
        }
        assert_eq!(found, [(LONGEST_FIELD, b"4".to_vec()), (LONGEST_FIELD, b"5".to_vec()), (0, b"6".to_vec())]);
        // One that claims to be longer than anything only waits for its bytes.
        export.feed(&[&b"MESSAGE\n"[..], &u64::MAX.to_le_bytes(), &long].concat(), |_| panic!("it has not ended"));
        assert!(export.held.len() <= LONGEST_FIELD);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_alike_in_any_pieces(bytes: Vec<u8>, piece in 1..20_usize) {
            prop_assert_eq!(entries(&bytes, piece), entries(&bytes, usize::MAX));
        }

        #[test]
        fn damaged_entries_are_taken(parts in prop::collection::vec("(MESSAGE|PRIORITY|UNIT)?(=|\n)?(\\x00{3,9})?[a-z=]{0,5}\n{0,2}", 0..12), piece in 1..9_usize) {
            let stream = parts.concat();
            prop_assert_eq!(entries(stream.as_bytes(), piece), entries(stream.as_bytes(), usize::MAX));
        }

        #[test]
        fn what_was_written_is_read(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..5), piece in 1..50_usize) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| [binary("MESSAGE", m), b"\n".to_vec()].concat()).collect();
            let read: Vec<Vec<u8>> = entries(&stream, piece).into_iter().map(|f| f.message).collect();
            prop_assert_eq!(read, messages);
        }
    }
}
