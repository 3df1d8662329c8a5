//! The addresses of the services: where they listen, and under which address viewers reach them.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::TcpListener;

/// The first of the four ports without options: CDN, HTTP API, bucket and console.
pub const PORT_BASE: u16 = 3000;

/// The distance between two port bases that an error can propose.
const PORT_BASE_STEP: usize = 10;

/// The listeners of all services.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) edge: TcpListener,
    pub(crate) gateway: TcpListener,
    pub(crate) console: TcpListener,
    /// `None` if another S3 stores the objects.
    pub(crate) bucket: Option<TcpListener>,
}

impl Listeners {
    /// Listens on the address of each service.
    ///
    /// # Errors
    /// With every address that is not available, not only the first.
    pub(crate) async fn bind(
        edge: SocketAddr,
        gateway: SocketAddr,
        console: SocketAddr,
        bucket: Option<SocketAddr>,
    ) -> Result<Self, ListenError> {
        let mut attempts = Attempts::default();
        let edge = attempts.bind(edge, "CDN", "--edge").await;
        let gateway = attempts.bind(gateway, "API", "--gateway").await;
        let bucket = match bucket {
            Some(address) => attempts.bind(address, "bucket", "--s3").await,
            None => None,
        };
        let console = attempts.bind(console, "console", "--console").await;
        match (edge, gateway, console) {
            (Some(edge), Some(gateway), Some(console)) if attempts.failures.is_empty() => {
                Ok(Self { edge, gateway, console, bucket })
            }
            _ => Err(ListenError { first_port: attempts.first_port, failures: attempts.failures }),
        }
    }
}

/// Binds addresses one after the other, and collects the failures.
#[derive(Debug, Default)]
struct Attempts {
    bound: Vec<(&'static str, SocketAddr)>,
    /// The lowest port that an option sets.
    first_port: Option<u16>,
    failures: Vec<Failure>,
}

/// An address that is not available.
#[derive(Debug)]
struct Failure {
    service: &'static str,
    flag: &'static str,
    address: SocketAddr,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// Another program listens on the port.
    Taken,
    /// The option with this name sets the same port.
    SameAs(&'static str),
    /// Any other error of the operating system.
    Other(io::Error),
}

impl Attempts {
    async fn bind(&mut self, address: SocketAddr, service: &'static str, flag: &'static str) -> Option<TcpListener> {
        let port = Some(address.port()).filter(|port| *port != 0);
        self.first_port = self.first_port.into_iter().chain(port).min();
        match TcpListener::bind(address).await {
            Ok(listener) => {
                self.bound.push((flag, address));
                Some(listener)
            }
            Err(error) => {
                let same = self.bound.iter().find(|(_, bound)| overlap(*bound, address)).map(|(flag, _)| *flag);
                let reason = match (error.kind(), same) {
                    (io::ErrorKind::AddrInUse, Some(flag)) => Reason::SameAs(flag),
                    (io::ErrorKind::AddrInUse, None) => Reason::Taken,
                    _ => Reason::Other(error),
                };
                self.failures.push(Failure { service, flag, address, reason });
                None
            }
        }
    }
}

/// Whether two listeners on these addresses exclude each other.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// The addresses that are not available.
#[derive(Debug)]
pub struct ListenError {
    first_port: Option<u16>,
    failures: Vec<Failure>,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken: Vec<&Failure> =
            self.failures.iter().filter(|failure| matches!(failure.reason, Reason::Taken)).collect();
        let mut parts = Vec::new();
        if !taken.is_empty() {
            let list: Vec<String> = taken
                .iter()
                .map(|Failure { address, service, flag, .. }| format!("{address} of the {service} ({flag})"))
                .collect();
            let (addresses, are) = if taken.len() == 1 { ("address", "is") } else { ("addresses", "are") };
            let proposal = free_port_base(self.first_port.unwrap_or(PORT_BASE))
                .map_or_else(String::new, |base| format!(", such as the four free ports of --port-base {base}"));
            parts.push(format!(
                "{addresses} {} {are} already in use: stop the program that listens there, or choose other ports{proposal}",
                list.join(", ")
            ));
        }
        for Failure { service, flag, address, reason } in &self.failures {
            match reason {
                Reason::Taken => {}
                Reason::SameAs(other) => {
                    parts.push(format!("{other} and {flag} have the same port {}: choose another one", address.port()));
                }
                Reason::Other(error) => parts.push(format!(
                    "cannot listen on {address} for the {service} ({error}): choose another address with {flag}"
                )),
            }
        }
        f.write_str(&parts.join("; "))
    }
}

impl Error for ListenError {}

/// The first of four consecutive free ports of this machine, searched upwards from `after`, then from [`PORT_BASE`].
fn free_port_base(after: u16) -> Option<u16> {
    let first = after.saturating_add(10);
    let bases = (first..=u16::MAX - 3).step_by(PORT_BASE_STEP).chain((PORT_BASE..first).step_by(PORT_BASE_STEP));
    let is_free = |port: u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    bases.take(500).find(|base| (*base..=*base + 3).all(is_free))
}

/// The address under which viewers reach a service that listens on `address`.
///
/// A service on all interfaces (`0.0.0.0`, `[::]`) is reached under the address of this machine in its network. `[::]`
/// accepts IPv4 too, unless the operating system is configured otherwise.
pub(crate) fn public(address: SocketAddr) -> SocketAddr {
    if listens_everywhere(address) {
        network_address().map_or_else(|| loopback(address), |ip| SocketAddr::new(ip, address.port()))
    } else {
        address
    }
}

/// The address under which this process reaches a service that listens on `address`.
pub(crate) fn loopback(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        _ if !listens_everywhere(address) => address,
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
    }
}

/// Whether a service on this address listens on all interfaces.
pub(crate) fn listens_everywhere(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_unspecified()
}

/// The IPv4 address of this machine in the network of its default route; `None` without a network.
fn network_address() -> Option<IpAddr> {
    // `connect` of a UDP socket selects a local address and sends nothing. No host has an address of this network, which
    // is reserved for documentation (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[tokio::test]
    async fn one_error_names_every_taken_port_and_free_ones() {
        let others: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind(local(0)).unwrap()).collect();
        let taken: Vec<SocketAddr> = others.iter().map(|other| other.local_addr().unwrap()).collect();
        let error = Listeners::bind(taken[0], taken[1], local(0), Some(taken[2])).await.unwrap_err().to_string();
        for (address, flag) in taken.iter().zip(["--edge", "--gateway", "--s3"]) {
            assert!(error.contains(&address.to_string()) && error.contains(flag), "{error}");
        }
        assert!(error.contains("are already in use") && !error.contains("console"), "{error}");
        let base = error.split_once("--port-base ").unwrap().1.parse::<u16>().unwrap();
        assert!((base..base + 4).all(|port| !taken.iter().any(|address| address.port() == port)), "{error}");
    }

    #[tokio::test]
    async fn two_options_with_the_same_port_are_an_error() {
        let free = std::net::TcpListener::bind(local(0)).unwrap().local_addr().unwrap();
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, free.port()));
        for other in [free, everywhere] {
            let error = Listeners::bind(free, local(0), other, None).await.unwrap_err().to_string();
            assert!(error.contains("--edge and --console have the same port"), "{error}");
        }
    }

    #[test]
    fn a_public_address_is_never_the_unspecified_one() {
        for address in ["0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80"] {
            let address: SocketAddr = address.parse().unwrap();
            assert!(!listens_everywhere(public(address)), "{address}");
            assert!(loopback(address).ip().is_loopback(), "{address}");
            assert_eq!(public(address).port(), 80);
        }
        assert_eq!(public(local(80)), local(80));
    }
}
