//! Connects to a host that has several addresses, some of which may not answer (RFC 8305).

use std::{io, net::SocketAddr, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{
    net::{TcpStream, ToSocketAddrs, lookup_host},
    select,
    time::sleep,
};

/// After this long without an answer, the next address is tried in parallel to the earlier ones.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Connects to the first of a host's addresses that answers. An address that neither accepts nor refuses does not delay
/// the others.
///
/// # Errors
/// When the name has no address, or no address accepts; the error is the last one.
pub async fn connect_tcp(host: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let addresses = lookup_host(host).await?.collect();
    race(alternating(addresses), TcpStream::connect).await
}

async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut left = addresses.into_iter();
    let mut tries: FuturesUnordered<F> = left.next().map(&connect).into_iter().collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        select! {
            tried = tries.next() => match tried {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(why)) => {
                    failed = why;
                    tries.extend(left.next().map(&connect));
                }
                None => return Err(failed),
            },
            () = sleep(NEXT_ADDRESS_AFTER), if left.len() > 0 => {
                tries.extend(left.next().map(&connect));
            }
        }
    }
}

/// Alternates between the two address families and keeps the order within each: a whole family may be unreachable.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return turns,
            pair => turns.extend([pair.0, pair.1].into_iter().flatten()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Connects as the port says: 1 accepts, 2 refuses, any other never answers.
    async fn connect(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.port() {
            1 => Ok(address),
            2 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => pending().await,
        }
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    async fn raced(texts: &[&str]) -> Result<SocketAddr, io::ErrorKind> {
        let raced = tokio::time::timeout(10 * NEXT_ADDRESS_AFTER, race(addresses(texts), connect));
        raced
            .await
            .expect("an address that never answers delays the others")
            .map_err(|why| why.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_that_accepts_wins() {
        let here = "127.0.0.1:1".parse().unwrap();
        assert_eq!(raced(&["127.0.0.1:1"]).await, Ok(here));
        assert_eq!(raced(&["[::1]:3", "127.0.0.1:1"]).await, Ok(here));
        assert_eq!(raced(&["[::1]:3", "10.0.0.1:3", "10.0.0.2:2", "127.0.0.1:1"]).await, Ok(here));
        assert_eq!(raced(&["[::1]:2", "127.0.0.1:2"]).await, Err(io::ErrorKind::ConnectionRefused));
        assert_eq!(raced(&[]).await, Err(io::ErrorKind::NotFound));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_host_is_reached_though_its_first_address_leads_nowhere() {
        let listening = |most_queued| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket.listen(most_queued).unwrap()
        };
        // The first listener accepts nothing: one connection fills its backlog, and the next gets no answer at all.
        let (full, free) = (listening(0), listening(8));
        let addresses = [full.local_addr().unwrap(), free.local_addr().unwrap()];
        let _waits = TcpStream::connect(addresses[0]).await.unwrap();
        let raced =
            tokio::time::timeout(40 * NEXT_ADDRESS_AFTER, connect_tcp(&addresses[..])).await;
        let raced = raced.expect("the first address delays the second").unwrap();
        assert_eq!(raced.peer_addr().unwrap(), addresses[1]);
    }

    #[test]
    fn families_take_turns() {
        let sorted = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"]);
        let turns = addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(alternating(sorted), turns);
        assert_eq!(alternating(addresses(&["10.0.0.1:1"])), addresses(&["10.0.0.1:1"]));
    }
}
