//! Base 36 (0-9, a-z) of fixed width, as Docker writes ids and tokens.

use std::fmt;

/// Characters that hold 16 bytes.
pub(crate) const WIDTH_16: usize = 25;
/// Characters that hold 32 bytes.
pub(crate) const WIDTH_32: usize = 50;

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A new id of 25 characters [a-z0-9] with 127 random bits, of the kind Docker
/// gives to every object. The highest bit is set, so that none begins with a zero.
pub fn random_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] |= 0x80;
    encode(&bytes, WIDTH_16)
}

/// Big-endian `bytes` as exactly `width` digits, padded with zeros on the left.
pub(crate) fn encode(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[divide_by_36(&mut number)];
    }
    debug_assert!(number.iter().all(|&byte| byte == 0), "width too small");
    digits.iter().copied().map(char::from).collect()
}

/// The `N` big-endian bytes that `text` stands for.
pub(crate) fn decode<const N: usize>(text: &str) -> Result<[u8; N], DecodeError> {
    let mut number = [0_u8; N];
    for (position, character) in text.chars().enumerate() {
        let digit = value(character).ok_or(DecodeError::Character {
            position,
            got: character,
        })?;
        multiply_by_36_and_add(&mut number, digit).ok_or(DecodeError::TooLarge)?;
    }
    Ok(number)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// Position counts characters from 0.
    Character { position: usize, got: char },
    /// More than `N` bytes can hold.
    TooLarge,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { position, got } => write!(f, "{got:?} at position {position}"),
            Self::TooLarge => f.write_str("number too large"),
        }
    }
}

fn value(character: char) -> Option<u8> {
    match character {
        '0'..='9' => Some(character as u8 - b'0'),
        'a'..='z' => Some(character as u8 - b'a' + 10),
        _ => None,
    }
}

fn divide_by_36(number: &mut [u8]) -> usize {
    let mut remainder = 0_usize;
    for byte in number.iter_mut() {
        let current = remainder * 256 + usize::from(*byte);
        *byte = u8::try_from(current / 36).expect("remainder < 36, so the quotient is below 256");
        remainder = current % 36;
    }
    remainder
}

fn multiply_by_36_and_add(number: &mut [u8], digit: u8) -> Option<()> {
    let mut carry = u16::from(digit);
    for byte in number.iter_mut().rev() {
        let [high, low] = (u16::from(*byte) * 36 + carry).to_be_bytes();
        *byte = low;
        carry = u16::from(high);
    }
    (carry == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(bytes: [u8; 32]) {
            let text = encode(&bytes, WIDTH_32);
            prop_assert_eq!(text.len(), WIDTH_32);
            prop_assert_eq!(decode::<32>(&text), Ok(bytes));
        }
    }

    #[test]
    fn the_largest_values_fill_the_width_docker_uses() {
        assert_eq!(encode(&[0xff; 16], WIDTH_16), "f5lxx1zz5pnorynqglhzmsp33");
        assert_eq!(encode(&[0; 16], WIDTH_16), "0".repeat(25));
        assert_eq!(decode::<16>("f5lxx1zz5pnorynqglhzmsp33"), Ok([0xff; 16]));
    }

    #[test]
    fn a_number_beyond_the_bytes_is_refused() {
        assert_eq!(
            decode::<16>("f5lxx1zz5pnorynqglhzmsp34"),
            Err(DecodeError::TooLarge)
        );
        assert_eq!(decode::<16>(&"z".repeat(25)), Err(DecodeError::TooLarge));
    }

    #[test]
    fn ids_have_dockers_length_and_alphabet_and_differ() {
        let (one, two) = (random_id(), random_id());
        assert_ne!(one, two);
        for id in [one, two] {
            assert_eq!(id.len(), 25);
            assert!(!id.starts_with('0'));
            assert!(id.chars().all(|c| value(c).is_some()), "{id}");
        }
    }
}
