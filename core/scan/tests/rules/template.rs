//! Expands the templates of rules/samples.toml: the same template always becomes the same text.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

const DIGITS: &str = "0123456789";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BASE62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Replaces each `{kind:length}`; what is no known kind stays as it is, so that JSON can be written as it is.
pub(crate) fn expand(template: &str) -> String {
    let mut random = Random(
        template
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
    );
    let (mut out, mut rest, mut last) = (String::new(), template, String::new());
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let close = rest.find('}').unwrap_or(0);
        let (kind, length) =
            rest[..close].trim_start_matches('{').split_once(':').unwrap_or((rest.get(1..close).unwrap_or(""), "0"));
        match (close > 0 && !rest[1..].starts_with('{'))
            .then(|| random.generate(kind, length.parse().unwrap_or(0), &last))
            .flatten()
        {
            Some(generated) => {
                out.push_str(&generated);
                last = generated;
                rest = &rest[close + 1..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..length).map(|_| char::from(alphabet[self.next() as usize % alphabet.len()])).collect()
    }

    fn generate(&mut self, kind: &str, length: usize, last: &str) -> Option<String> {
        let alphabet = match kind {
            "" => return Some(String::new()),
            "uuid" => return Some([8, 4, 4, 4, 12].map(|length| self.of(&hex(), length)).join("-")),
            "jwt" => return Some(self.jwt(r#"{"alg":"HS256","typ":"JWT"}"#, 43)),
            "jwt_ed25519" => return Some(self.jwt(r#"{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}"#, 86)),
            "basic_auth" => return Some(STANDARD.encode(format!("ci-bot:{}", self.of(BASE62, 20)))),
            "pem" => return Some((0..length).map(|_| self.of(&base64("+/"), 64) + "\n").collect()),
            "crc32_base62" => return Some(crc32_base62(last)),
            "tollgate_key" => return Some(self.tollgate_key()),
            "hex" => hex(),
            "upper_hex" => hex().to_uppercase(),
            "mixed_hex" => hex() + "ABCDEF",
            "digits" => DIGITS.to_owned(),
            "lower" => LOWER.to_owned(),
            "upper" => UPPER.to_owned(),
            "letters" => LOWER.to_owned() + UPPER,
            "lower_digits" => LOWER.to_owned() + DIGITS,
            "upper_digits" => UPPER.to_owned() + DIGITS,
            "base62" => BASE62.to_owned(),
            "word" => BASE62.to_owned() + "_",
            "base64" => base64("+/"),
            "base64url" => base64("-_"),
            "base58" => BASE62.replace(['0', 'I', 'O', 'l'], ""),
            "base32" => UPPER.to_owned() + "234567",
            "base32_lower" => LOWER.to_owned() + "234567",
            "bech32_lower" => BECH32.to_owned(),
            "bech32_upper" => BECH32.to_uppercase(),
            other => return other.strip_prefix("same_").map(|same| same.repeat(length)),
        };
        Some(self.of(&alphabet, length))
    }

    fn jwt(&mut self, header: &str, signature: usize) -> String {
        let claims = format!(r#"{{"iss":"https://id.internal","sub":"{}","exp":1900000000}}"#, self.of(LOWER, 12));
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(&claims), self.of(&base64("-_"), signature))
    }

    fn tollgate_key(&mut self) -> String {
        let (id, secret) = (self.of(BECH32, 26), self.of(&(LOWER.to_owned() + "234567"), 52));
        let covered = format!("tg_live_{id}_{secret}");
        format!("{covered}_{:08x}", crc32fast::hash(covered.as_bytes()))
    }
}

fn hex() -> String {
    DIGITS.to_owned() + "abcdef"
}

fn base64(signs: &str) -> String {
    BASE62.to_owned() + signs
}

fn crc32_base62(of: &str) -> String {
    let mut number = crc32fast::hash(of.as_bytes()) as usize;
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62.as_bytes()[number % 62];
        number /= 62;
    }
    String::from_utf8(digits.to_vec()).unwrap()
}
