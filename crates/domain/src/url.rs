//! Text in URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 3986 leaves unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Text as a part of a URL, between any of its separators.
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unreserved_is_encoded_byte_by_byte() {
        assert_eq!(percent_encoded("aZ09-_.~"), "aZ09-_.~");
        assert_eq!(percent_encoded("a/b ?&=%+\u{e9}"), "a%2Fb%20%3F%26%3D%25%2B%C3%A9");
    }
}
