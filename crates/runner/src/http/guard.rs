//! Which addresses may be called. Whoever can name a URL could otherwise reach what only this
//! machine can reach: its own services, its network, the cloud's metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Addresses that are nobody's on the public internet, and what they are.
const PRIVATE: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this host"),
    ("10.0.0.0/8", "a private network"),
    ("100.64.0.0/10", "a carrier's network"),
    ("127.0.0.0/8", "this host"),
    ("169.254.0.0/16", "link-local, where clouds serve metadata"),
    ("172.16.0.0/12", "a private network"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.168.0.0/16", "a private network"),
    ("198.18.0.0/15", "benchmarks"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "this host"),
    ("::1/128", "this host"),
    ("100::/64", "discarded"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "reserved"),
    ("fc00::/7", "a private network"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "a private network"),
    ("ff00::/8", "multicast"),
];

/// Lets public addresses through, and those private ones that the configuration names.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
    allows_all: bool,
}

/// Why a configuration is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address and no network: write it as 10.1.2.3, 10.0.0.0/8 or fd00::/8, or `all`")]
pub struct GuardError(pub String);

/// Why a host cannot be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{host} has no address: {why}")]
    Unknown { host: String, why: String },
    #[error("it is at {address}, which is {what}: let it in with `wakeful up --http-allow {address}`")]
    Refused { address: IpAddr, what: &'static str },
}

impl Guard {
    /// A guard that lets these private networks through, too.
    pub fn new(networks: &[String]) -> Result<Guard, GuardError> {
        let mut guard = Guard::default();
        for text in networks {
            match (text.as_str(), text.parse::<IpNet>(), text.parse::<IpAddr>()) {
                ("all", _, _) => guard.allows_all = true,
                (_, Ok(network), _) => guard.allowed.push(network),
                (_, _, Ok(address)) => guard.allowed.push(address.into()),
                _ => return Err(GuardError(text.clone())),
            }
        }
        Ok(guard)
    }

    /// The addresses of a host, to be called as they are; one that may not be called refuses them all.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, AddressError> {
        let unknown = |why: String| AddressError::Unknown { host: host.to_owned(), why };
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| unknown(error.to_string()))?;
        let addresses: Vec<SocketAddr> = found.collect();
        let objection = |address: &SocketAddr| Some((address.ip(), self.objection(address.ip())?));
        match addresses.iter().find_map(objection) {
            Some((address, what)) => Err(AddressError::Refused { address, what }),
            None if addresses.is_empty() => Err(unknown("its name stands for none".into())),
            None => Ok(addresses),
        }
    }

    /// What is wrong with calling this address, if anything.
    pub fn objection(&self, address: IpAddr) -> Option<&'static str> {
        let address = meant(address);
        if self.allows_all || self.allowed.iter().any(|network| network.contains(&address)) {
            return None;
        }
        let holds = |text: &str| text.parse::<IpNet>().is_ok_and(|network| network.contains(&address));
        PRIVATE.iter().find(|(network, _)| holds(network)).map(|(_, what)| *what)
    }
}

/// The IPv4 address that an IPv6 address carries through a translator or a tunnel, or the address itself.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let carried = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // Mapped, translated (RFC 2765), and the NAT64 prefixes of RFC 6052 and RFC 8215.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, _, _, _, _, high, low] => carried(high, low),
        // 6to4.
        [0x2002, high, low, ..] => carried(high, low),
        // The deprecated compatible form; `::` and `::1` are IPv6's own.
        [0, 0, 0, 0, 0, 0, high, low] if v6 != Ipv6Addr::UNSPECIFIED && v6 != Ipv6Addr::LOCALHOST => carried(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(guard: &Guard, address: &str) -> Option<&'static str> {
        guard.objection(address.parse().unwrap())
    }

    #[test]
    fn private_addresses_are_refused_however_they_are_written() {
        let guard = Guard::default();
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::10.0.0.1",
            "2002:7f00:1::1",
            "2001:0:1::",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "::ffff:0:10.0.0.1",
            "ff02::1",
        ] {
            assert!(objection(&guard, address).is_some(), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert_eq!(objection(&guard, address), None, "{address}");
        }
    }

    #[test]
    fn every_network_of_the_table_is_one() {
        assert!(PRIVATE.iter().all(|(network, _)| network.parse::<IpNet>().is_ok()));
    }

    #[test]
    fn what_the_configuration_names_is_let_through() {
        let guard = Guard::new(&["127.0.0.0/8".into(), "10.1.2.3".into()]).unwrap();
        assert_eq!(objection(&guard, "127.0.0.1"), None);
        assert_eq!(objection(&guard, "::ffff:127.0.0.1"), None);
        assert_eq!(objection(&guard, "10.1.2.3"), None);
        assert!(objection(&guard, "10.1.2.4").is_some());
        assert_eq!(objection(&Guard::new(&["all".into()]).unwrap(), "169.254.169.254"), None);
        assert_eq!(Guard::new(&["localhost".into()]).unwrap_err(), GuardError("localhost".into()));
    }
}
