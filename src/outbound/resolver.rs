//! Limits outgoing requests to public addresses and to those that the operator wrote down.
//!
//! The owner of a review platform's host name can point it at any address, also inside our own network. So
//! the addresses of a name are checked at connection time: non-public ones are not tried, and a name without
//! others is not reached. An address written in the settings is checked when they are read. `localhost` and
//! this machine's own address are allowed if the settings name them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Networks that are not public, from IANA's registries of special-purpose addresses.
const NOT_PUBLIC: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

static NETS: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| NOT_PUBLIC.iter().filter_map(|net| net.parse().ok()).collect());

pub fn is_public(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V6(v6) => match embedded(&v6.segments()) {
            Some(v4) => IpAddr::V4(v4),
            None => address,
        },
        IpAddr::V4(_) => address,
    };
    !NETS.iter().any(|net| net.contains(&address))
}

/// The IPv4 address inside an IPv6 address: mapped, compatible, translated (NAT64) or tunnelled (6to4).
fn embedded(segments: &[u16; 8]) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match *segments {
        // `::` and `::1` contain no IPv4 address.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// The IP address written in a URL, if its host is one.
pub fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

pub fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some(LOCALHOST) || literal(url).is_some_and(|address| address.is_loopback())
}

const LOCALHOST: &str = "localhost";

#[derive(Debug, thiserror::Error)]
#[error("the host has no public address, and outgoing.private_addresses is off")]
pub struct NotPublic;

/// The lookup of names: the system's, or a test's.
type Lookup = dyn Fn(String) -> Looked + Send + Sync;
type Looked = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<Lookup>,
    private_addresses: bool,
}

impl Resolver {
    /// Uses the system's lookup. `private_addresses` allows all addresses.
    pub fn new(private_addresses: bool) -> Self {
        let lookup = |name: String| -> Looked {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        };
        Self::with_lookup(lookup, private_addresses)
    }

    fn with_lookup(
        lookup: impl Fn(String) -> Looked + Send + Sync + 'static,
        private_addresses: bool,
    ) -> Self {
        Self { lookup: Arc::new(lookup), private_addresses }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let everything = self.private_addresses || name.as_str() == LOCALHOST;
        let looked = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let found = looked.await?;
            let reachable: Vec<_> =
                found.into_iter().filter(|found| everything || is_public(found.ip())).collect();
            if reachable.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(reachable.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_network_of_the_list_is_one() {
        assert_eq!(NETS.len(), NOT_PUBLIC.len());
    }

    #[test]
    fn public_is_what_the_internet_routes() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(is_public(ip(public)), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "::ffff:0:8.8.8.8",
            "2002:a00:1::1",
            "fe80::1",
            "fd00::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(ip(private)), "{private}");
        }
    }

    #[test]
    fn this_machine_is_known_however_it_is_written() {
        for (url, is_this) in [
            ("http://localhost/", true),
            ("http://127.0.0.1:9/", true),
            ("http://[::1]/", true),
            ("http://127.1/", true),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is_this, "{url}");
        }
    }

    /// A receiver on this machine, and a name that points at it.
    async fn reached(
        addresses: &'static [&'static str],
        name: &str,
        private_addresses: bool,
    ) -> Result<u16, String> {
        let _already = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = axum::Router::new().fallback(async || "here");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let lookup = |_| -> Looked {
            Box::pin(async { Ok(addresses.iter().map(|text| SocketAddr::new(ip(text), 0)).collect()) })
        };
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(Resolver::with_lookup(lookup, private_addresses)))
            .build()
            .unwrap();
        match client.get(format!("http://{name}:{port}/")).send().await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(crate::outbound::error::describe(&error).to_owned()),
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_into_our_own_network_is_not_reached() {
        let name = "platform.example.com";
        let refused = Err("its host has no public address".to_owned());
        assert_eq!(reached(&["127.0.0.1"], name, false).await, refused);
        assert_eq!(reached(&["10.0.0.1", "fd00::1", "127.0.0.1"], name, false).await, refused);
        assert_eq!(reached(&[], name, false).await, refused);
        assert_eq!(reached(&["127.0.0.1"], name, true).await, Ok(200), "the operator allows it");
        assert_eq!(reached(&["127.0.0.1"], "localhost", false).await, Ok(200), "that is what it means");
    }
}
