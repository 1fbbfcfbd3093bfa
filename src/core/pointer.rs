//! The value at a place in a JSON text (RFC 6901), found in one pass over its bytes: what stands before it is stepped over, what
//! stands behind it is not looked at.
//!
//! For texts that are as expected, which nearly all are. Of anything else (an escape in a name, something missing or strange) it
//! says nothing at all: then a whole parser has to look.

use super::wire::find as find_byte;

/// The value's own text, without the space around it.
#[must_use]
pub fn find<'a>(text: &'a str, path: &[impl AsRef<str>]) -> Option<&'a str> {
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    for token in path {
        match reader.next()? {
            b'{' => reader.member(token.as_ref().as_bytes())?,
            b'[' => reader.element(token.as_ref().parse().ok()?)?,
            _ => return None,
        }
    }
    reader.space();
    let begin = reader.at;
    reader.skip()?;
    let value = text.get(begin..reader.at)?;
    if !is_plain(value.as_bytes()) {
        return None;
    }
    // A number that ends with the text may have been cut off.
    (path.is_empty() || matches!(reader.next()?, b',' | b'}' | b']')).then_some(value)
}

/// Whether a value that is neither text nor nested is spelt as RFC 8259 has it: where it ends must not depend on who reads it.
fn is_plain(value: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = match value {
        [b'"' | b'{' | b'[', ..] | b"true" | b"false" | b"null" => return true,
        [b'-', rest @ ..] | rest => rest,
    };
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = rest.get(whole..).unwrap_or_default();
    if let [b'.', part @ ..] = rest {
        let some = digits(part);
        if some == 0 {
            return false;
        }
        rest = part.get(some..).unwrap_or_default();
    }
    match rest {
        [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..] => {
            !power.is_empty() && digits(power) == power.len()
        }
        _ => rest.is_empty(),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        self.space();
        self.at += 1;
        self.text.get(self.at - 1).copied()
    }

    /// Inside an object: goes to the value of this name.
    fn member(&mut self, wanted: &[u8]) -> Option<()> {
        loop {
            self.space();
            let (name, plain) = self.string()?;
            if !plain || self.next()? != b':' {
                return None;
            }
            if name == wanted {
                return Some(());
            }
            self.space();
            self.skip()?;
            if self.next()? != b',' {
                return None;
            }
        }
    }

    /// Inside an array: goes to the element at this position.
    fn element(&mut self, wanted: usize) -> Option<()> {
        for _ in 0..wanted {
            self.space();
            self.skip()?;
            if self.next()? != b',' {
                return None;
            }
        }
        Some(())
    }

    /// A string, without its quotes, and whether there is no escape in it.
    fn string(&mut self) -> Option<(&'a [u8], bool)> {
        if self.peek()? != b'"' {
            return None;
        }
        let (begin, mut plain) = (self.at + 1, true);
        self.at = begin;
        loop {
            self.at += find_byte(self.text.get(self.at..)?, *b"\"\\")?;
            if self.peek()? == b'"' {
                self.at += 1;
                return Some((self.text.get(begin..self.at - 1)?, plain));
            }
            // Whatever is escaped, it is no end.
            plain = false;
            self.at += 2;
        }
    }

    /// Steps over a value.
    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.skip_nested(),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let rest = self.text.get(self.at..)?;
                let end = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                self.at += rest.iter().position(end).unwrap_or(rest.len());
                Some(())
            }
            _ => None,
        }
    }

    /// Steps over an object or an array, to where it closes.
    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_where_it_stands_or_nothing_is_said() {
        for (text, path, wanted) in [
            (r#"{"outputs":[{"name":"p","data":[7]}]}"#, "outputs/0/data", Some("[7]")),
            (" { \"a\" : [ 1 , {\"b\" : \"x\\\"]}\" } ] , \"c\":2 }", "a/1/b", Some(r#""x\"]}""#)),
            (r#"{"x":{"outputs":[1]},"y":"\\","s":"}","outputs":[2,3]}"#, "outputs/1", Some("3")),
            (r#"{"a":{"b":[[],{},"",null]},"c":-1.5e3}"#, "c", Some("-1.5e3")),
            (r#"{"a":{"b":"}]"},"c":1}"#, "c", Some("1")),
            (r#"{"a":1,"a":2}"#, "a", Some("1")),
            (r#"{"1":true}"#, "1", Some("true")),
            ("[[1,2],[3]]", "1/0", Some("3")),
            ("7", "", Some("7")),
            // Not there.
            ("{}", "a", None),
            ("[]", "0", None),
            ("[1]", "1", None),
            ("[1]", "a", None),
            (r#"{"a":1}"#, "a/b", None),
            // Left to others.
            (r#"{"\u0061":1}"#, "a", None),
            (r#"{"a":1"#, "a", None),
            (r#"{"a":"#, "a", None),
            (r#"{"a":[1}"#, "b", None),
            (r#"{"a" 1}"#, "a", None),
            (r#"{"a":x}"#, "a", None),
            ("[-1\u{e}000]", "0", None),
            ("[-1\u{b}]", "0", None),
            ("[1-2]", "0", None),
            ("[01]", "0", None),
            ("[1.]", "0", None),
            ("[1e]", "0", None),
            ("[-]", "0", None),
            ("[nul]", "0", None),
            ("[-0.5E+10]", "0", Some("-0.5E+10")),
            (r#"{"a":"b\"#, "a", None),
            ("}", "a", None),
            ("", "", None),
            ("Internal Server Error", "a", None),
        ] {
            let path: Vec<&str> = path.split('/').filter(|token| !token.is_empty()).collect();
            assert_eq!(find(text, &path), wanted, "{text} {path:?}");
        }
    }
}
