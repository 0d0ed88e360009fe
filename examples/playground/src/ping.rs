//! Echo requests from one network namespace to many addresses at once, over a raw ICMP socket.
//!
//! No program is run: a machine may have no `ping`, and one process per pair would take minutes.

use std::{
    collections::HashMap,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use socket2::{Domain, Protocol, Socket, Type};

use fabric::netns;

/// Sources that send at the same time; more of them only fill the kernel's queues.
const SOURCES: usize = 8;
/// Echo requests of one source that are under way at the same time.
const WINDOW: usize = 64;
/// How often a request is repeated before its pair counts as failed.
const ROUNDS: u32 = 5;
/// How long the answers to one window may take. On an idle machine it is well below a millisecond.
const PATIENCE: Duration = Duration::from_millis(400);

/// Something that sends and answers echo requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, for people.
    pub name: String,
    /// The node it is on.
    pub node: String,
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Who reached whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// Ordered pairs that got an answer.
    pub ok: usize,
    /// Ordered pairs, source first, that got none in any round.
    pub failed: Vec<(String, String)>,
}

/// Sends from every endpoint to every other; `done` hears of each source that is through.
pub async fn every_pair(endpoints: &[Endpoint], mut done: impl FnMut(usize)) -> io::Result<Matrix> {
    let sources = stream::iter(0..endpoints.len()).map(|source| async move {
        let targets = endpoints.iter().enumerate().filter(|(index, _)| *index != source);
        let addresses: Vec<Ipv4Addr> = targets.clone().map(|(_, target)| target.address).collect();
        let silent = ping(&endpoints[source].netns, addresses).await?;
        let names: Vec<String> = targets
            .filter(|(_, target)| silent.contains(&target.address))
            .map(|(_, target)| target.name.clone())
            .collect();
        io::Result::Ok((source, names))
    });
    let mut results = sources.buffer_unordered(SOURCES);
    let mut matrix = Matrix::default();
    let mut finished = 0;
    while let Some(result) = results.next().await {
        let (source, silent) = result?;
        matrix.ok += endpoints.len() - 1 - silent.len();
        let name = &endpoints[source].name;
        matrix
            .failed
            .extend(silent.into_iter().map(|target| (name.clone(), target)));
        finished += 1;
        done(finished);
    }
    matrix.failed.sort();
    Ok(matrix)
}

/// Sends from `netns` to each of `targets`; returns those that never answered.
pub async fn ping(netns: &Path, targets: Vec<Ipv4Addr>) -> io::Result<Vec<Ipv4Addr>> {
    netns::inside(netns, move || {
        let socket = Pinger::open()?;
        let mut silent = targets;
        for round in 0..ROUNDS {
            if silent.is_empty() {
                break;
            }
            let mut unanswered = Vec::new();
            for window in silent.chunks(WINDOW) {
                unanswered.extend(socket.window(window, round)?);
            }
            silent = unanswered;
        }
        Ok(silent)
    })
    .await
}

struct Pinger {
    socket: Socket,
    ident: u16,
}

impl Pinger {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        // The socket also gets every request that the others send here.
        socket.set_recv_buffer_size(4 << 20)?;
        Ok(Self {
            socket,
            ident: fastrand::u16(..),
        })
    }

    /// One request to each of at most 65,536 targets; returns those that did not answer in time.
    fn window(&self, targets: &[Ipv4Addr], round: u32) -> io::Result<Vec<Ipv4Addr>> {
        let mut waiting: HashMap<(Ipv4Addr, u16), Ipv4Addr> = HashMap::new();
        for (index, target) in targets.iter().enumerate() {
            // Rounds differ in the sequence, so that a late answer is not taken for a later one's.
            let sequence = (round as u16) << 8 | index as u16;
            let to = SocketAddrV4::new(*target, 0).into();
            match self.socket.send_to(&echo_request(self.ident, sequence), &to) {
                Ok(_) => {}
                // No route, a full queue: the pair fails, or the next round does it.
                Err(error) => tracing::debug!(%target, %error, "an echo request was not sent"),
            }
            waiting.insert((*target, sequence), *target);
        }
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0u8; 2048];
        while !waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.socket.set_read_timeout(Some(left))?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) => {
                    if let Some(reply) = echo_reply(&buffer[..length], self.ident) {
                        waiting.remove(&reply);
                    }
                }
                Err(error) if is_timeout(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(waiting.into_values().collect())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An ICMP echo request (RFC 792) without data.
fn echo_request(ident: u16, sequence: u16) -> [u8; 8] {
    let mut packet = [8, 0, 0, 0, 0, 0, 0, 0];
    packet[4..6].copy_from_slice(&ident.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// Source and sequence of an IPv4 packet that is an echo reply to `ident`.
fn echo_reply(packet: &[u8], ident: u16) -> Option<(Ipv4Addr, u16)> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    match packet.get(header..header + 8)? {
        [0, 0, _, _, i, d, s, q] if u16::from_be_bytes([*i, *d]) == ident => {
            Some((source.into(), u16::from_be_bytes([*s, *q])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_sums_to_all_ones() {
        for (ident, sequence) in [(0, 0), (0xffff, 0xffff), (0x1234, 0x0302)] {
            let sum: u32 = echo_request(ident, sequence)
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }

    #[test]
    fn reply_is_told_from_request_and_from_others() {
        let mut packet = vec![0x45u8; 20];
        packet[12..16].copy_from_slice(&[10, 40, 0, 7]);
        packet.extend([0, 0, 0, 0, 0xab, 0xcd, 0x01, 0x02]);
        assert_eq!(
            echo_reply(&packet, 0xabcd),
            Some((Ipv4Addr::new(10, 40, 0, 7), 0x0102))
        );
        assert_eq!(echo_reply(&packet, 0xabce), None);
        packet[20] = 8;
        assert_eq!(echo_reply(&packet, 0xabcd), None);
        assert_eq!(echo_reply(&packet[..24], 0xabcd), None);
    }
}
