//! Reads protobuf without building it: the fields of a message, one after the other, as slices of its bytes.
//!
//! The messages of a sync are read this way because they are many, and because a decoder of structs skips unknown fields
//! in silence: an unknown kind of message would look like none (V14).

use std::ops::Range;

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// Where its bytes are in the whole text: a string, bytes or a message.
    Bytes(Range<usize>),
}

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not valid protobuf")]
pub struct Malformed;

/// The fields of the message in a part of a text, each with its number. Nothing follows an error.
pub struct Fields<'a> {
    text: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    pub fn of(text: &'a [u8], message: Range<usize>) -> Self {
        let end = message.end.min(text.len());
        Self { text, at: message.start.min(end), end }
    }

    /// Where the next field begins.
    pub fn position(&self) -> usize {
        self.at
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Content), Malformed> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|it| *it > 0).ok_or(Malformed)?;
        let content = match key & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Content::Bytes(self.take(length)?)
            }
            5 => Content::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups, which no version of the protocol has.
            _ => return Err(Malformed),
        };
        Ok((number, content))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.text[..self.end].get(self.at).ok_or(Malformed)?;
            self.at += 1;
            // The tenth byte has one bit.
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<Range<usize>, Malformed> {
        let end = self.at.checked_add(length).filter(|it| *it <= self.end).ok_or(Malformed)?;
        let taken = self.at..end;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let range = self.take(N)?;
        self.text[range].try_into().map_err(|_| Malformed)
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<(u32, Content), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.end;
        }
        Some(field)
    }
}

impl Content {
    /// The range of a string, bytes or a message.
    pub fn bytes(self) -> Result<Range<usize>, Malformed> {
        match self {
            Self::Bytes(range) => Ok(range),
            _ => Err(Malformed),
        }
    }

    pub fn varint(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &[u8]) -> Vec<Result<(u32, Content), Malformed>> {
        Fields::of(text, 0..text.len()).collect()
    }

    #[test]
    fn fields_of_every_wire_type_are_read() {
        let text =
            [&[0x08, 0xac, 0x02][..], &[0x12, 2, b'h', b'i'], &[0x1d, 1, 0, 0, 0], &[0x21, 2, 0, 0, 0, 0, 0, 0, 0]];
        assert_eq!(
            fields(&text.concat()),
            [
                Ok((1, Content::Varint(300))),
                Ok((2, Content::Bytes(5..7))),
                Ok((3, Content::Fixed32(1))),
                Ok((4, Content::Fixed64(2)))
            ]
        );
        let longest = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(fields(&longest), [Ok((1, Content::Varint(u64::MAX)))]);
    }

    #[test]
    fn what_is_not_a_message_is_an_error_and_the_end() {
        let too_long = [&[0x08][..], &[0xff; 9], &[0x02]].concat();
        for text in [&[0x00, 0][..], &[0x08], &[0x08, 0x80], &[0x12, 3, b'h', b'i'], &[0x1d, 1], &[0x0b], &too_long] {
            assert_eq!(fields(text), [Err(Malformed)], "{text:?}");
        }
    }
}
