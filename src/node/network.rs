//! What a node among others needs of the machine: a runtime for talking to them, sockets, the secret, and the address
//! that it tells them.
//!
//! The address must be one that others can reach. A node that listens on one address tells that one. A node that listens
//! on all of them tells the one from which it would talk to the nodes it joins.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::ops::Deref;
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};

use crate::cluster::membership::gossip::GossipError;
use crate::config::{Config, ListenAddress};
use crate::rpc::Secret;
use crate::rpc::identity::SecretTooShort;

/// Cores for each thread that talks to other nodes. These threads encode and decode, and nothing that they do waits: one
/// carries some millions of samples a second, and several on few cores wake each other more than they help.
const CORES_PER_THREAD: usize = 4;

/// Connections of peers that the system holds until they are accepted.
const CONNECTIONS_WAITING_MAX: u32 = 1024;

/// No secret is longer; a file that is was named by mistake.
const SECRET_BYTES_MAX: u64 = 4096;

/// Why a node cannot talk to others.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No threads.
    #[error("cannot start the threads that talk to other nodes: {0}")]
    Threads(io::Error),
    /// The file of the secret.
    #[error("cluster.secret-file: cannot read {path}: {source}")]
    SecretFile {
        /// Its path.
        path: String,
        /// The trouble.
        source: io::Error,
    },
    /// What is in it.
    #[error("cluster.secret-file: {path}: {source}")]
    Secret {
        /// Its path.
        path: String,
        /// The trouble.
        source: SecretTooShort,
    },
    /// An address.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Listen {
        /// The setting.
        setting: &'static str,
        /// What it says.
        address: String,
        /// The trouble.
        source: io::Error,
    },
    /// The server on it.
    #[error("rpc.listen: cannot serve other nodes: {0}")]
    Server(io::Error),
    /// Gossip.
    #[error("gossip.listen: {0}")]
    Gossip(#[from] GossipError),
    /// No address to tell others.
    #[error(
        "{setting} is {address}, which is no address that others could be told, and this machine has no way to any of \
         gossip.join; listen on the address that others reach this node at"
    )]
    Unreachable {
        /// The setting.
        setting: &'static str,
        /// What it says.
        address: String,
    },
}

/// The runtime of everything that talks to other nodes. It ends with this value, and waits for nothing then.
pub(super) struct PeerRuntime(Option<Runtime>);

impl PeerRuntime {
    pub(super) fn start() -> Result<Self, NetworkError> {
        let threads =
            std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(CORES_PER_THREAD));
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("peers").enable_all().build();
        runtime.map(|runtime| PeerRuntime(Some(runtime))).map_err(NetworkError::Threads)
    }
}

impl Deref for PeerRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken when this is dropped")
    }
}

impl Drop for PeerRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads the cluster's secret. A line end behind it does not count.
pub(super) fn secret(path: &Path) -> Result<Secret, NetworkError> {
    let shown = || path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes));
    let read = read.and_then(|length| match length as u64 > SECRET_BYTES_MAX {
        true => Err(io::Error::other(format!("more than {SECRET_BYTES_MAX} bytes are no secret"))),
        false => Ok(()),
    });
    read.map_err(|source| NetworkError::SecretFile { path: shown(), source })?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    Secret::new(bytes).map_err(|source| NetworkError::Secret { path: shown(), source })
}

/// The sockets of a node, and what it tells others of them.
pub(super) struct Sockets {
    /// Where peers connect to. The port is taken, but until somebody listens they are refused at once, rather than left
    /// waiting for a node that reads its log.
    pub(super) rpc: TcpSocket,
    /// Where they are told to.
    pub(super) rpc_told: SocketAddr,
    /// Where the node gossips. Opened by the gossip itself.
    pub(super) gossip: SocketAddr,
    /// Where others are told that it does.
    pub(super) gossip_told: SocketAddr,
}

impl Sockets {
    /// Binds them. Waits for names to be looked up.
    pub(super) fn open(config: &Config) -> Result<Self, NetworkError> {
        let failed = |setting, address: &ListenAddress| {
            let address = address.to_string();
            move |source| NetworkError::Listen { setting, address, source }
        };
        let (address, setting) = (&config.rpc_listen, "rpc.listen");
        let rpc = bind(address).map_err(failed(setting, address))?;
        let bound = rpc.local_addr().map_err(failed(setting, address))?;
        let rpc_told = told(bound, setting, config)?;
        let (address, setting) = (&config.gossip_listen, "gossip.listen");
        let gossip = resolve(address).map_err(failed(setting, address))?;
        let gossip_told = told(gossip, setting, config)?;
        Ok(Sockets { rpc, rpc_told, gossip, gossip_told })
    }
}

fn bind(address: &ListenAddress) -> io::Result<TcpSocket> {
    let address = resolve(address)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the run before may be known to the system still.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Lets peers connect.
pub(super) fn listen(socket: TcpSocket) -> Result<TcpListener, NetworkError> {
    let address = socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let listening = socket.listen(CONNECTIONS_WAITING_MAX);
    listening.map_err(|source| NetworkError::Listen { setting: "rpc.listen", address, source })
}

fn resolve(address: &ListenAddress) -> io::Result<SocketAddr> {
    let mut found = (address.host.as_str(), address.port).to_socket_addrs()?;
    found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address of this name"))
}

/// The address to tell others of a socket that listens on `bound`.
fn told(bound: SocketAddr, setting: &'static str, config: &Config) -> Result<SocketAddr, NetworkError> {
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    // A name that is not known yet may be known later; what it stands for is behind some route then.
    let seeds = config.gossip_join.0.iter().filter_map(|seed| resolve(seed).ok());
    // Nothing is sent there: these are the networks of examples (RFC 5737, RFC 3849), and stand for the rest of the
    // world.
    let elsewhere: [SocketAddr; 2] =
        [(Ipv4Addr::new(192, 0, 2, 1), 9).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()];
    let mut ways = seeds.chain(elsewhere).filter_map(|to| own_address_towards(bound, to));
    let mut loopback = None;
    // The node may be among those that it joins, under a name that means "here".
    let way = ways.find(|ip| {
        if ip.is_loopback() {
            loopback.get_or_insert(*ip);
        }
        !ip.is_loopback()
    });
    // Those that join each other on one machine without a network.
    match way.or(loopback) {
        Some(ip) => Ok(SocketAddr::new(ip, bound.port())),
        None => Err(NetworkError::Unreachable { setting, address: bound.to_string() }),
    }
}

/// From which address this machine would talk to another one. Asks the routing table; sends nothing.
fn own_address_towards(bound: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    // A socket for all IPv6 addresses takes IPv4 too, a socket for all IPv4 addresses nothing else.
    if bound.is_ipv4() && to.is_ipv6() {
        return None;
    }
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::config::Seeds;

    fn seeds(hosts: &[&str]) -> Config {
        let seed = |host: &&str| ListenAddress { host: (*host).to_owned(), port: 9011 };
        Config { gossip_join: Seeds(hosts.iter().map(seed).collect()), ..Config::default() }
    }

    #[test]
    fn a_node_that_listens_on_one_address_tells_that_one() {
        let bound = "10.1.2.3:7".parse().unwrap();
        assert_eq!(told(bound, "rpc.listen", &seeds(&["127.0.0.1"])).unwrap(), bound);
    }

    #[test]
    fn a_node_that_listens_on_all_addresses_tells_the_one_towards_those_it_joins() {
        let towards = |bound: &str| {
            told(bound.parse().unwrap(), "rpc.listen", &seeds(&["nowhere.invalid", "127.0.0.1"]))
        };
        // Whether this machine has a network or not: it is no unspecified address, and the port stays.
        for bound in ["0.0.0.0:7", "[::]:7"] {
            let told = towards(bound).unwrap();
            assert!(!told.ip().is_unspecified() && told.port() == 7, "{told}");
        }
        assert_eq!(
            own_address_towards("0.0.0.0:7".parse().unwrap(), "127.0.0.1:9".parse().unwrap()),
            Some(Ipv4Addr::LOCALHOST.into())
        );
        assert_eq!(own_address_towards("0.0.0.0:7".parse().unwrap(), "[::1]:9".parse().unwrap()), None);
    }

    #[test]
    fn a_port_is_taken_before_anybody_listens_on_it() {
        let any_port = ListenAddress { port: 0, ..ListenAddress::default() };
        let sockets = Sockets::open(&Config { rpc_listen: any_port, ..Config::default() }).unwrap();
        assert_ne!(sockets.rpc_told.port(), 0);
        let refused = TcpStream::connect(sockets.rpc_told).map_err(|error| error.kind());
        assert_eq!(refused.unwrap_err(), io::ErrorKind::ConnectionRefused);
        let runtime = PeerRuntime::start().unwrap();
        let _on_it = runtime.enter();
        let listener = listen(sockets.rpc).unwrap();
        assert!(TcpStream::connect(sockets.rpc_told).is_ok());
        let told = sockets.rpc_told;
        let taken = ListenAddress { port: told.port(), ..ListenAddress::default() };
        let error = Sockets::open(&Config { rpc_listen: taken, ..Config::default() }).map(drop).unwrap_err();
        assert!(error.to_string().starts_with(&format!("rpc.listen: cannot listen on {told}: ")), "{error}");
        drop(listener);
    }

    #[test]
    fn a_secret_is_read_without_its_line_end_and_its_file_is_named_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            secret(&path).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(read("0123456789abcdef\n"), Ok(()));
        assert!(read("0123456789abcde\r\n").unwrap_err().contains("secret: the cluster secret has 15 bytes"));
        assert!(read(&"x".repeat(5000)).unwrap_err().contains("more than 4096 bytes"));
        let error = secret(&folder.path().join("nowhere")).unwrap_err().to_string();
        assert!(
            error.starts_with("cluster.secret-file: cannot read ") && error.contains("nowhere"),
            "{error}"
        );
    }
}
