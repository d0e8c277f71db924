//! Names that ask for the name of an address. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `11.1.0.10.in-addr.arpa` is 10.0.1.11 (RFC 1035, 3.5), and 32 digits before
/// `.ip6.arpa` are an IPv6 address (RFC 3596, 2.5). `name` is lower case and
/// has no dot at its end.
pub(super) fn address_of(name: &str) -> Option<IpAddr> {
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        let address: Ipv4Addr = reversed.parse().ok()?;
        let [a, b, c, d] = address.octets();
        return Some(Ipv4Addr::new(d, c, b, a).into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let mut count = 0;
    for digit in digits.split('.') {
        let [digit] = digit.as_bytes() else {
            return None;
        };
        let digit = char::from(*digit).to_digit(16)?;
        if count == 32 {
            return None;
        }
        bits |= u128::from(digit) << (4 * count);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_backwards() {
        let v4: IpAddr = "10.0.1.11".parse().unwrap();
        assert_eq!(address_of("11.1.0.10.in-addr.arpa"), Some(v4));
        let v6: IpAddr = "fd00::b".parse().unwrap();
        let name = "b.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(address_of(name), Some(v6));
    }

    #[test]
    fn what_is_no_address_is_none() {
        for name in [
            "web",
            "1.0.10.in-addr.arpa",
            "b.0.ip6.arpa",
            "bb.ip6.arpa",
            ".ip6.arpa",
        ] {
            assert_eq!(address_of(name), None, "{name}");
        }
        let long = format!("{}ip6.arpa", "0.".repeat(33));
        assert_eq!(address_of(&long), None);
    }
}
