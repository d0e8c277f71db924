//! The two parts of a root certificate that Docker's clients compare: who issued it, and its key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The issuer's name and the subject's public key of a certificate in PEM, both DER.
/// `None` where the text is no certificate.
pub fn issuer_and_key(pem: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let body: String = pem
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN CERTIFICATE-----"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .collect();
    let der = STANDARD.decode(body.trim()).ok()?;
    let (certificate, _) = element(&der)?;
    let (signed_part, _) = element(certificate.content)?;
    let mut rest = signed_part.content;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (field, after) = element(rest)?;
        fields.push(field);
        rest = after;
    }
    // Version (tagged, absent in version 1), serial, algorithm, issuer, validity, subject, key.
    let first = usize::from(fields.first()?.tag == 0xA0);
    let issuer = fields.get(first + 2)?.whole.to_vec();
    let key = fields.get(first + 5)?.whole.to_vec();
    Some((issuer, key))
}

/// One tag-length-value element of DER.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The first element and what follows it.
fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let digits = usize::from(first & 0x7F);
        if digits == 0 || digits > 4 || rest.len() < digits {
            return None;
        }
        let (digits, rest) = rest.split_at(digits);
        let length = digits
            .iter()
            .fold(0usize, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    let content = rest.get(..length)?;
    let after = rest.get(length..)?;
    let whole = bytes.get(..bytes.len() - after.len())?;
    Some((
        Element {
            tag,
            content,
            whole,
        },
        after,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root of a real cluster, and what its engine showed of it.
    const ROOT: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBazCCARCgAwIBAgIUN2/D+qWq0Gzc4rgB6itwouKIcO0wCgYIKoZIzj0EAwIw\n\
        EzERMA8GA1UEAxMIc3dhcm0tY2EwHhcNMjYxMTIzMDIyNDAwWhcNNDYxMTE4MDIy\n\
        NDAwWjATMREwDwYDVQQDEwhzd2FybS1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH\n\
        A0IABONVjJO0YBo7J9fEyDuIf61tumV87hSiqGbKG+yS7iiFwxZ4GfBrzkegcUF4\n\
        1Q48D1YkZRm6t925Vf8OX3MlAw+jQjBAMA4GA1UdDwEB/wQEAwIBBjAPBgNVHRMB\n\
        Af8EBTADAQH/MB0GA1UdDgQWBBTy232UyfVsO8U4Fl+bsXSTX4iVSDAKBggqhkjO\n\
        PQQDAgNJADBGAiEAh5udqoUDCQouFHkwOIgUAuauW+Ecv+V1vK+xRisNvQ8CIQDu\n\
        jexeXKD9Gns2JI+b6icKju4SuWaWlQvtbt0pgxJ3pQ==\n\
        -----END CERTIFICATE-----\n";

    #[test]
    fn issuer_and_key_are_what_an_engine_shows_of_the_same_root() {
        let (issuer, key) = issuer_and_key(ROOT).unwrap();
        assert_eq!(STANDARD.encode(issuer), "MBMxETAPBgNVBAMTCHN3YXJtLWNh");
        assert_eq!(
            STANDARD.encode(key),
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE41WMk7RgGjsn18TIO4h/rW26ZXzuFKKoZsob7JLuKIXDFngZ8GvO\
             R6BxQXjVDjwPViRlGbq33blV/w5fcyUDDw=="
        );
    }

    #[test]
    fn what_is_no_certificate_gives_nothing() {
        assert_eq!(issuer_and_key(""), None);
        let cut =
            "-----BEGIN CERTIFICATE-----\nMIIBazCCARCgAwIBAgIUN2/D\n-----END CERTIFICATE-----";
        assert_eq!(issuer_and_key(cut), None);
    }
}
