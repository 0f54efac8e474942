//! The checksum that some credentials carry: tells one that was issued from one that merely looks like it.
//!
//! Only formats that are published, and whose check refuses nearly all that is made up, are here. A key id of AWS encodes its account,
//! but nine of ten made-up ids pass as one; Cloudflare says that its tokens have a checksum, but not which.

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The random part of a token of GitHub or npm, and the checksum behind it.
const RANDOM_LENGTH: usize = 30;
const CHECKSUM_LENGTH: usize = 6;

/// What a credential's own checksum says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It matches.
    Valid,
    /// It does not: this was never issued.
    Invalid,
    /// The format has none, or none that is known.
    Unknown,
}

/// Verifies what the rule named `rule` found. The names are those of our own rules and of Gitleaks' for the same formats.
pub(crate) fn verify(rule: &str, secret: &str) -> Verdict {
    match rule {
        "github-pat"
        | "github-oauth"
        | "github-app-token"
        | "github-app-user-token"
        | "github-app-installation-token"
        | "github-refresh-token" => base62_crc32(secret, "gh?_"),
        "npm-access-token" => base62_crc32(secret, "npm_"),
        "tollgate-virtual-key" => tollgate(secret),
        "jwt" => jwt(secret),
        _ => Verdict::Unknown,
    }
}

/// `<prefix><30 of base 62><6 of base 62>`: the last six are the CRC-32 (IEEE) of the thirty. A `?` in `prefix` is any character.
/// From <https://github.blog/engineering/behind-githubs-new-authentication-token-formats/>; npm took it over.
fn base62_crc32(secret: &str, prefix: &str) -> Verdict {
    let Some((head, body)) = secret.split_at_checked(prefix.len()) else { return Verdict::Unknown };
    let is_prefix = head.bytes().zip(prefix.bytes()).all(|(byte, expected)| expected == b'?' || byte == expected);
    // Longer tokens of the same prefixes have another form.
    if !is_prefix || body.len() != RANDOM_LENGTH + CHECKSUM_LENGTH {
        return Verdict::Unknown;
    }
    let Some((random, checksum)) = body.split_at_checked(RANDOM_LENGTH) else { return Verdict::Unknown };
    verdict(encoded(crc32fast::hash(random.as_bytes())).as_slice() == checksum.as_bytes())
}

/// A number in base 62, padded with zeros to six digits.
fn encoded(mut number: u32) -> [u8; CHECKSUM_LENGTH] {
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        let at = usize::try_from(number % 62).unwrap_or_default();
        *digit = BASE62.get(at).copied().unwrap_or_default();
        number /= 62;
    }
    digits
}

/// `tg_<environment>_<id>_<secret>_<crc32>`: the CRC-32 (IEEE) of all before the last underscore, in eight hexadecimal digits.
fn tollgate(secret: &str) -> Verdict {
    let Some((covered, checksum)) = secret.rsplit_once('_') else { return Verdict::Unknown };
    verdict(format!("{:08x}", crc32fast::hash(covered.as_bytes())) == checksum)
}

/// A JSON Web Token begins with a JSON object that names its algorithm (RFC 7515, section 4.1.1).
fn jwt(secret: &str) -> Verdict {
    let header = secret.split('.').next().and_then(decoded).and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(header) = header else { return Verdict::Invalid };
    let object = header.trim();
    let value = object.split_once("\"alg\"").map(|(_, rest)| rest.trim_start());
    let is_string =
        value.and_then(|rest| rest.strip_prefix(':')).is_some_and(|rest| rest.trim_start().starts_with('"'));
    verdict(is_string && object.starts_with('{') && object.ends_with('}'))
}

/// Base 64 for URLs, without padding (RFC 4648, section 5).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let (mut buffer, mut bits, mut bytes) = (0_u32, 0_u32, Vec::with_capacity(text.len()));
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        buffer = ((buffer << 6) | u32::from(value)) & 0xfff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

const fn verdict(is_valid: bool) -> Verdict {
    if is_valid { Verdict::Valid } else { Verdict::Invalid }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token that npm's own announcement takes apart, in two pieces so that no scanner takes it for one.
    const PUBLISHED: [&str; 2] = ["qkJaB6MffYVzZXWqmcoF49yrUxP3wf", "0LsakP"];

    #[test]
    fn the_published_token_is_valid_and_each_changed_character_is_noticed() {
        let body = PUBLISHED.concat();
        for (rule, prefix) in [("npm-access-token", "npm_"), ("github-pat", "ghp_"), ("github-app-token", "ghs_")] {
            assert_eq!(verify(rule, &format!("{prefix}{body}")), Verdict::Valid, "{rule}");
            for at in 0..body.len() {
                let mut changed = body.clone().into_bytes();
                changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(verify(rule, &format!("{prefix}{changed}")), Verdict::Invalid, "{rule}, changed at {at}");
            }
        }
    }

    #[test]
    fn a_small_checksum_is_padded() {
        assert_eq!(&encoded(0), b"000000");
        assert_eq!(&encoded(61), b"00000z");
        assert_eq!(&encoded(62), b"000010");
        assert_eq!(&encoded(u32::MAX), b"4gfFC3");
    }

    #[test]
    fn what_has_another_form_is_not_judged() {
        let body = PUBLISHED.concat();
        for (rule, secret) in [
            ("github-pat", format!("ghp_{body}{body}")),
            ("github-pat", format!("xyz_{body}")),
            ("github-pat", "ghp".to_owned()),
            ("npm-access-token", format!("ghp_{body}")),
            ("stripe-secret-key", format!("ghp_{body}")),
            ("github-pat", format!("gh\u{e9}{body}")),
        ] {
            assert_eq!(verify(rule, &secret), Verdict::Unknown, "{rule}: {secret}");
        }
    }

    #[test]
    fn a_key_of_tollgate_is_verified_as_it_is_made() {
        let covered = format!("tg_live_{}_{}", "01k9zq3v5m8c4t2n7r6x0w1y9b", "a".repeat(52));
        let key = format!("{covered}_{:08x}", crc32fast::hash(covered.as_bytes()));
        assert_eq!(verify("tollgate-virtual-key", &key), Verdict::Valid);
        assert_eq!(verify("tollgate-virtual-key", &key.replace("live", "test")), Verdict::Invalid);
        assert_eq!(verify("tollgate-virtual-key", "tg"), Verdict::Unknown);
    }

    #[test]
    fn a_web_token_needs_a_header_with_an_algorithm() {
        for (header, expect) in [
            ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", Verdict::Valid),
            // {"typ": "JWT", "alg" : "none" }
            ("eyJ0eXAiOiAiSldUIiwgImFsZyIgOiAibm9uZSIgfQ", Verdict::Valid),
            // {"typ":"JWT"}
            ("eyJ0eXAiOiJKV1QifQ", Verdict::Invalid),
            // {"alg":1}
            ("eyJhbGciOjF9", Verdict::Invalid),
            ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ", Verdict::Invalid),
            ("eyJ+", Verdict::Invalid),
        ] {
            assert_eq!(verify("jwt", &format!("{header}.eyJhIjoxfQ.c2ln")), expect, "{header}");
        }
    }
}
