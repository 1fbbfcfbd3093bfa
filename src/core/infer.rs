//! What a V2 `ModelInferResponse` (gRPC) answers: its first output, as the JSON that the same answer over REST has at `/outputs/0/data`.
//! So a label is compared in the same way, whichever way the prediction came.
//!
//! Read by the wire format, field by field (`grpc_predict_v2.proto` of the Open Inference Protocol); nothing is generated.

use super::protobuf::{Fields, Malformed, Value, Varints};
use std::fmt::Write as _;

/// The method whose answers these are.
pub const METHOD: &str = "/inference.GRPCInferenceService/ModelInfer";
/// What stands before a gRPC message: whether it is compressed, and its length.
pub const PREFIX_BYTES: usize = 5;

/// Bytes of a gRPC message and its prefix, as the prefix says; `None`: it is not all there yet.
#[must_use]
pub fn framed_bytes(body: &[u8]) -> Option<u64> {
    let (_, rest) = body.split_first()?;
    let length = rest.first_chunk::<4>()?;
    Some(u64::from(u32::from_be_bytes(*length)) + PREFIX_BYTES as u64)
}

/// The first output of the answer in the body of a call: JSON without spaces, a value alone without its list. `None`: it is
/// compressed, empty, or of a type that JSON has no numbers for.
///
/// # Errors
/// [`Malformed`]: this is not one gRPC message, or not a message of Protocol Buffers.
pub fn prediction(body: &[u8]) -> Result<Option<String>, Malformed> {
    if framed_bytes(body) != Some(body.len() as u64) {
        return Err(Malformed);
    }
    match body.split_at_checked(PREFIX_BYTES) {
        Some(([0, ..], message)) => first_output(message),
        _ => Ok(None),
    }
}

fn first_output(message: &[u8]) -> Result<Option<String>, Malformed> {
    let (mut output, mut raw) = (None, None);
    for field in Fields(message) {
        match field? {
            (5, Value::Bytes(bytes)) if output.is_none() => output = Some(bytes),
            (6, Value::Bytes(bytes)) if raw.is_none() => raw = Some(bytes),
            _ => {}
        }
    }
    let Some(output) = output else { return Ok(None) };
    let (mut list, mut kind) = (List::default(), &b""[..]);
    for field in Fields(output) {
        match field? {
            (2, Value::Bytes(name)) => kind = name,
            (5, Value::Bytes(contents)) => typed(contents, &mut list)?,
            _ => {}
        }
    }
    if let Some(raw) = raw.filter(|_| list.count == 0) {
        list.raw(kind, raw)?;
    }
    Ok(list.json())
}

/// `InferTensorContents`: a list for each type, packed or not.
fn typed(contents: &[u8], list: &mut List) -> Result<(), Malformed> {
    for field in Fields(contents) {
        match field? {
            (number @ 1..=5, Value::Varint(value)) => list.integer(number, value),
            (number @ 1..=5, Value::Bytes(packed)) => {
                for value in Varints(packed) {
                    list.integer(number, value?);
                }
            }
            (6, Value::Fixed32(bytes)) => list.single(f32::from_le_bytes(bytes)),
            (6, Value::Bytes(packed)) => list.each(packed, |list, bytes| list.single(f32::from_le_bytes(bytes)))?,
            (7, Value::Fixed64(bytes)) => list.double(f64::from_le_bytes(bytes)),
            (7, Value::Bytes(packed)) => list.each(packed, |list, bytes| list.double(f64::from_le_bytes(bytes)))?,
            (8, Value::Bytes(text)) => list.text(text),
            _ => {}
        }
    }
    Ok(())
}

/// A JSON list that grows.
#[derive(Default)]
struct List {
    text: String,
    count: usize,
    /// Something in it cannot be said in JSON.
    strange: bool,
}

impl List {
    fn json(self) -> Option<String> {
        match self.count {
            _ if self.strange => None,
            0 => None,
            1 => Some(self.text),
            _ => Some(format!("[{}]", self.text)),
        }
    }

    /// Writing to a `String` never fails.
    fn push(&mut self, value: impl std::fmt::Display) {
        let comma = if self.count > 0 { "," } else { "" };
        self.count += 1;
        let _ = write!(self.text, "{comma}{value}");
    }

    /// A value of field 1 (`bool`), 2 or 3 (signed), 4 or 5 (unsigned).
    fn integer(&mut self, field: u64, value: u64) {
        match field {
            1 => self.push(value != 0),
            2 | 3 => self.push(value.cast_signed()),
            _ => self.push(value),
        }
    }

    fn single(&mut self, value: f32) {
        self.strange |= !value.is_finite();
        self.push(format_args!("{value:?}"));
    }

    fn double(&mut self, value: f64) {
        self.strange |= !value.is_finite();
        self.push(format_args!("{value:?}"));
    }

    fn text(&mut self, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.strange = true;
            return;
        };
        let mut quoted = String::with_capacity(text.len() + 2);
        for c in text.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                c if c < ' ' => {
                    let _ = write!(quoted, "\\u{:04x}", u32::from(c));
                }
                c => quoted.push(c),
            }
        }
        self.push(format_args!("\"{quoted}\""));
    }

    /// Every `N` bytes are a value; none may be left over.
    fn each<const N: usize>(
        &mut self,
        bytes: &[u8],
        mut push: impl FnMut(&mut Self, [u8; N]),
    ) -> Result<(), Malformed> {
        let (values, rest) = bytes.as_chunks::<N>();
        values.iter().for_each(|value| push(self, *value));
        rest.is_empty().then_some(()).ok_or(Malformed)
    }

    /// A tensor's bytes as they are, little-endian; texts have their length before them.
    fn raw(&mut self, kind: &[u8], bytes: &[u8]) -> Result<(), Malformed> {
        match kind {
            b"BOOL" => self.each(bytes, |list, [byte]| list.push(byte != 0)),
            b"INT8" => self.each(bytes, |list, bytes| list.push(i8::from_le_bytes(bytes))),
            b"INT16" => self.each(bytes, |list, bytes| list.push(i16::from_le_bytes(bytes))),
            b"INT32" => self.each(bytes, |list, bytes| list.push(i32::from_le_bytes(bytes))),
            b"INT64" => self.each(bytes, |list, bytes| list.push(i64::from_le_bytes(bytes))),
            b"UINT8" => self.each(bytes, |list, bytes| list.push(u8::from_le_bytes(bytes))),
            b"UINT16" => self.each(bytes, |list, bytes| list.push(u16::from_le_bytes(bytes))),
            b"UINT32" => self.each(bytes, |list, bytes| list.push(u32::from_le_bytes(bytes))),
            b"UINT64" => self.each(bytes, |list, bytes| list.push(u64::from_le_bytes(bytes))),
            b"FP32" => self.each(bytes, |list, bytes| list.single(f32::from_le_bytes(bytes))),
            b"FP64" => self.each(bytes, |list, bytes| list.double(f64::from_le_bytes(bytes))),
            b"BYTES" => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let (length, behind) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
                    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Malformed)?;
                    let (text, behind) = behind.split_at_checked(length).ok_or(Malformed)?;
                    self.text(text);
                    rest = behind;
                }
                Ok(())
            }
            // FP16, BF16 and what may come: no label is compared with those.
            _ => {
                self.strange = true;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes; all of the tests' are shorter than 128.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat()
    }

    fn answer(output: &[u8], more: &[u8]) -> Vec<u8> {
        framed(&[field(1, b"digits"), field(3, b"an id"), field(5, output), more.to_vec()].concat())
    }

    fn check(body: &[u8], wanted: Result<Option<&str>, Malformed>) {
        assert_eq!(prediction(body), wanted.map(|text| text.map(str::to_owned)), "{}", body.escape_ascii());
    }

    #[test]
    fn every_type_reads_as_it_would_over_rest() {
        for (contents, wanted) in [
            (field(3, &[7]), "7"),
            (field(3, &[7, 8]), "[7,8]"),
            (vec![3 << 3, 7, 3 << 3, 8], "[7,8]"),
            (field(2, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), "-1"),
            (field(5, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), "18446744073709551615"),
            (field(1, &[1, 0]), "[true,false]"),
            (field(6, &0.1_f32.to_le_bytes()), "0.1"),
            ([&[6 << 3 | 5][..], &7_f32.to_le_bytes()].concat(), "7.0"),
            (field(7, &[0.25_f64.to_le_bytes(), 1e-9_f64.to_le_bytes()].concat()), "[0.25,1e-9]"),
            ([&[7 << 3 | 1][..], &0.5_f64.to_le_bytes()].concat(), "0.5"),
            (field(8, b"cat"), r#""cat""#),
            (field(8, b"a cat"), r#""a cat""#),
            (field(8, "a\"\\\n\u{e9}".as_bytes()), "\"a\\\"\\\\\\u000a\u{e9}\""),
        ] {
            let output = [field(1, b"p"), field(2, b"ANY"), field(3, &[1]), field(5, &contents)].concat();
            check(&answer(&output, b""), Ok(Some(wanted)));
            assert!(serde_json::from_str::<serde_json::Value>(wanted).is_ok(), "{wanted}");
        }
    }

    #[test]
    fn raw_contents_read_by_their_type() {
        for (kind, bytes, wanted) in [
            ("INT64", 7_i64.to_le_bytes().to_vec(), Some("7")),
            ("INT32", [1_i32.to_le_bytes(), (-2_i32).to_le_bytes()].concat(), Some("[1,-2]")),
            ("INT16", (-3_i16).to_le_bytes().to_vec(), Some("-3")),
            ("INT8", vec![0xff], Some("-1")),
            ("UINT8", vec![0xff], Some("255")),
            ("UINT16", 300_u16.to_le_bytes().to_vec(), Some("300")),
            ("UINT32", 7_u32.to_le_bytes().to_vec(), Some("7")),
            ("UINT64", u64::MAX.to_le_bytes().to_vec(), Some("18446744073709551615")),
            ("BOOL", vec![1], Some("true")),
            ("FP32", 1.5_f32.to_le_bytes().to_vec(), Some("1.5")),
            ("FP64", 0.1_f64.to_le_bytes().to_vec(), Some("0.1")),
            ("BYTES", b"\x03\0\0\0cat\x01\0\0\0x".to_vec(), Some(r#"["cat","x"]"#)),
            ("FP16", vec![0, 0], None),
            ("FP32", f32::NAN.to_le_bytes().to_vec(), None),
            ("FP64", f64::INFINITY.to_le_bytes().to_vec(), None),
            ("BYTES", b"\x01\0\0\0\xff".to_vec(), None),
        ] {
            check(&answer(&field(2, kind.as_bytes()), &field(6, &bytes)), Ok(wanted));
        }
        // The second output's bytes are not the first one's.
        let two = [field(5, &field(2, b"UINT8")), field(6, &[1]), field(6, &[2])].concat();
        check(&answer(&field(2, b"UINT8"), &two), Ok(Some("1")));
        // Nor are its values.
        let [first, second] = [7, 9].map(|value| field(5, &field(3, &[value])));
        check(&answer(&first, &field(5, &second)), Ok(Some("7")));
    }

    #[test]
    fn an_answer_without_a_prediction_has_none_and_half_an_answer_is_malformed() {
        check(&framed(b""), Ok(None));
        check(&answer(b"", b""), Ok(None));
        check(&[1, 0, 0, 0, 3, 0xff, 0xff, 0xff], Ok(None));
        let whole = answer(&field(5, &field(3, &[7])), b"");
        check(&whole, Ok(Some("7")));
        for cut in 0..whole.len() {
            check(&whole[..cut], Err(Malformed));
        }
        check(&[whole, framed(b"")].concat(), Err(Malformed));
        check(&answer(&field(2, b"INT32"), &field(6, &[1, 2, 3])), Err(Malformed));
        check(&answer(&field(2, b"BYTES"), &field(6, &[9, 0, 0, 0, 1])), Err(Malformed));
        check(&answer(&field(5, &field(6, &[1, 2, 3])), b""), Err(Malformed));
        check(&framed(b"{\"outputs\":[]}"), Err(Malformed));
    }
}
