//! Bytes as people compare them: checksums, and the hashes under which tokens are kept.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two lower-case digits a byte.
pub fn of(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(super::of(&[0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
    }
}
