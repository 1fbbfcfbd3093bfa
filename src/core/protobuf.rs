//! Protocol Buffers on the wire, read without a schema: which fields a message has, one after the other, and what each holds.
//! The format: protobuf.dev, "Encoding".

/// Bytes that are not a message, or only a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// What a field holds; what that means is for whoever knows its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Wire type 0: an integer, a `bool`, an enum.
    Varint(u64),
    /// Wire type 1: eight bytes, little-endian.
    Fixed64([u8; 8]),
    /// Wire type 2: text, bytes, a message, or a packed list.
    Bytes(&'a [u8]),
    /// Wire type 5: four bytes, little-endian.
    Fixed32([u8; 4]),
}

/// The fields of a message in their order, each with its number; after [`Malformed`] there are no more.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.0;
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        self.0 = if field.is_some() { rest } else { &[] };
        Some(field.ok_or(Malformed))
    }
}

/// The integers of a packed list.
#[derive(Clone, Copy, Debug)]
pub struct Varints<'a>(pub &'a [u8]);

impl Iterator for Varints<'_> {
    type Item = Result<u64, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let number = varint(&mut self.0);
        if number.is_none() {
            self.0 = &[];
        }
        Some(number.ok_or(Malformed))
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(rest)?;
    let number = tag >> 3;
    let value = match tag & 7 {
        0 => Value::Varint(varint(rest)?),
        1 => Value::Fixed64(fixed(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (bytes, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            Value::Bytes(bytes)
        }
        5 => Value::Fixed32(fixed(rest)?),
        // Groups, which nothing has used since proto2, and types that do not exist.
        _ => return None,
    };
    // Field numbers are 1 to 2^29 - 1.
    (1..1 << 29).contains(&number).then_some((number, value))
}

/// Seven bits a byte, the lowest first; at most ten bytes, and of the tenth one bit.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (shift < 63 || *byte <= 1).then_some(number);
        }
    }
    None
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
        Fields(bytes).collect()
    }

    #[test]
    fn fields_are_read_as_the_specification_has_them() {
        // Its own examples: 150 in field 1, "testing" in field 2, a message in field 3, a packed list in field 6.
        assert_eq!(read(b"\x08\x96\x01"), Ok(vec![(1, Value::Varint(150))]));
        assert_eq!(read(b"\x12\x07testing"), Ok(vec![(2, Value::Bytes(b"testing"))]));
        assert_eq!(read(b"\x1a\x03\x08\x96\x01"), Ok(vec![(3, Value::Bytes(b"\x08\x96\x01"))]));
        let packed = read(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05").unwrap();
        let [(6, Value::Bytes(packed))] = packed[..] else { panic!("{packed:?}") };
        assert_eq!(Varints(packed).collect::<Result<Vec<_>, _>>(), Ok(vec![3, 270, 86942]));
        let fixed = read(b"\x09\x01\0\0\0\0\0\0\0\x15\0\0\x80\x3f");
        assert_eq!(
            fixed,
            Ok(vec![(1, Value::Fixed64([1, 0, 0, 0, 0, 0, 0, 0])), (2, Value::Fixed32([0, 0, 0x80, 0x3f]))])
        );
        let minus_one = [b"\x08".as_slice(), &[0xff; 9], b"\x01"].concat();
        assert_eq!(read(&minus_one), Ok(vec![(1, Value::Varint(u64::MAX))]));
        assert_eq!(read(b""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_message_is_not_read() {
        let too_long = [b"\x08".as_slice(), &[0xff; 10], b"\x01"].concat();
        let too_large = [b"\x08".as_slice(), &[0xff; 9], b"\x02"].concat();
        for bytes in [
            &b"\x08"[..],                                    // no value
            b"\x08\x96",                                     // half a number
            b"\x12\x08testing",                              // longer than what is there
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // longer than memory
            b"\x09\0\0\0",
            b"\x15\0\0\0",
            b"\x0b",     // a group
            b"\x0f\x01", // no such type
            b"\x00\x01", // no field 0
            b"\x80",
            &too_long,
            &too_large,
        ] {
            assert_eq!(read(bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        /// Whatever the bytes are, reading ends, and what was read was there.
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let sum: usize = Fields(&bytes).map_while(Result::ok).map(|(_, value)| match value {
                Value::Bytes(bytes) => bytes.len() + 2,
                Value::Varint(_) => 2,
                Value::Fixed32(_) => 5,
                Value::Fixed64(_) => 9,
            }).sum();
            prop_assert!(sum <= bytes.len());
        }
    }
}
