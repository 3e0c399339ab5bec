//! From the bytes of a table to its text: compression and character encoding.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Largest table, decompressed: the whole table is held in memory.
const MAX_BYTES: u64 = 4 << 30;

/// The text of a table, without a byte-order mark.
#[derive(Debug, PartialEq)]
pub(crate) struct TableText {
    pub(crate) text: String,
    /// What the user should know about how it was read.
    pub(crate) note: Option<String>,
}

/// Reads a table: plain, or compressed by gzip or Zstandard; UTF-8, UTF-16 with a byte-order mark, or Latin-1.
pub(crate) fn read(from: impl Read) -> io::Result<TableText> {
    let mut from = Patient(from);
    // A pipe may give fewer bytes at first than it takes to recognise the compression.
    let mut start = Vec::with_capacity(4);
    from.by_ref().take(4).read_to_end(&mut start)?;
    let [gzip, zstd] = [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd]].map(|magic| start.starts_with(magic));
    let from = BufReader::new(io::Cursor::new(start).chain(from));
    let bytes = if gzip {
        bounded(MultiGzDecoder::new(from), MAX_BYTES)?
    } else if zstd {
        bounded(zstd::Decoder::with_buffer(from)?, MAX_BYTES)?
    } else {
        bounded(from, MAX_BYTES)?
    };
    decode(bytes)
}

/// A reader that reads again when a signal interrupts it: decoders may lose their place if they see the interruption.
struct Patient<R>(R);

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

fn bounded(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("the table has more than {limit} bytes; divide it")));
    }
    Ok(bytes)
}

fn decode(mut bytes: Vec<u8>) -> io::Result<TableText> {
    let plain = |text| TableText { text, note: None };
    if bytes.starts_with(&[0xff, 0xfe]) {
        return utf16(&bytes[2..], u16::from_le_bytes).map(plain);
    }
    if bytes.starts_with(&[0xfe, 0xff]) {
        return utf16(&bytes[2..], u16::from_be_bytes).map(plain);
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => plain(text),
        Err(error) => {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
            // Latin-1 is the first 256 characters of Unicode, so every file can be read as such.
            let text = error.into_bytes().into_iter().map(char::from).collect();
            let note =
                format!("line {line} is not UTF-8: the table is read as Latin-1; save it as UTF-8 if names look odd");
            TableText { text, note: Some(note) }
        }
    })
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> io::Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect();
    text.ok().filter(|_| rest.is_empty()).ok_or_else(|| io::Error::other("it starts like UTF-16, but is not"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "listing_id,photo\nü,a.jpg\n";

    fn text_of(bytes: &[u8]) -> String {
        read(bytes).expect("a table").text
    }

    /// A reader of one byte at a time, with a signal before each.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = into.len().min(1);
            self.0.read(&mut into[..count])
        }
    }

    #[test]
    fn encodings_and_compression_are_recognised() {
        let utf16 = |unit: fn(u16) -> [u8; 2], mark: u16| -> Vec<u8> {
            unit(mark).into_iter().chain(TEXT.encode_utf16().flat_map(unit)).collect()
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(TEXT.as_bytes()).expect("a vector");
        let tables = [
            TEXT.as_bytes().to_vec(),
            format!("\u{feff}{TEXT}").into_bytes(),
            utf16(u16::to_le_bytes, 0xfeff),
            utf16(u16::to_be_bytes, 0xfeff),
            gzip.finish().expect("a vector"),
            zstd::encode_all(TEXT.as_bytes(), 3).expect("a vector"),
        ];
        for bytes in &tables {
            let expected = TableText { text: TEXT.to_owned(), note: None };
            assert_eq!(read(&bytes[..]).expect("a table"), expected);
            assert_eq!(read(Slow(bytes, false)).expect("short reads and signals change nothing"), expected);
        }
        assert_eq!(text_of(b""), "");
    }

    #[test]
    fn latin1_is_read_with_a_note() {
        let latin1 = read(&b"listing_id,photo\nm\xe9,a.jpg\n"[..]).expect("a table");
        assert!(latin1.text.contains("mé,a.jpg"));
        assert!(latin1.note.expect("a note").starts_with("line 2 is not UTF-8"));
    }

    #[test]
    fn damaged_tables_are_errors() {
        assert!(read(&b"\xff\xfea\0b"[..]).is_err());
        assert!(read(&b"\x1f\x8b\x08 not gzip"[..]).is_err());
        assert!(bounded(&b"12345"[..], 4).expect_err("too long").to_string().contains("more than 4 bytes"));
    }
}
