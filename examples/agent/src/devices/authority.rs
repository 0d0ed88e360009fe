//! Requests of kubelets before 1.26 made acceptable to our HTTP/2 server.
//!
//! Such a kubelet names our socket's path as the request's `:authority` (kubernetes/kubernetes#112597 has
//! the story), and the `h2` crate resets a stream whose authority is no host. Nobody here looks at the
//! authority, so every one is replaced by a short word on the way in.
//!
//! That is safe for HPACK: the peers' tables of earlier headers then differ in the value of that one entry.
//! Ours counts as smaller, so that our table forgets no entry earlier than kubelet's does, and entries are
//! numbered from the newest.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split},
    net::UnixStream,
};

/// What each connection begins with (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// A frame's header: three bytes of length, type, flags, four bytes of stream (section 4.1).
const HEADER: usize = 9;
/// The longest frame that a peer may send who was told nothing else (`SETTINGS_MAX_FRAME_SIZE`).
const LONGEST: usize = 1 << 14;
/// The type of a frame that begins with a block of headers.
const HEADERS: u8 = 1;
/// The flags under which such a frame is nothing but one whole block: its end, no padding, no priority.
const FLAGS: u8 = 0x04 | 0x08 | 0x20;
const END_HEADERS: u8 = 0x04;
/// The number of `:authority` in HPACK's static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;
/// What it is replaced by: a string of one byte, not compressed.
const REPLACEMENT: [u8; 2] = [1, b'k'];

/// The connection as our server may see it.
pub(super) fn tolerant(connection: UnixStream) -> DuplexStream {
    let (server, relay) = duplex(4 * LONGEST);
    tokio::spawn(async move {
        let (from_kubelet, mut to_kubelet) = connection.into_split();
        let (mut from_server, to_server) = split(relay);
        // Whoever hangs up first ends the connection.
        let ended = tokio::select! {
            biased;
            ended = inward(from_kubelet, to_server) => ended,
            ended = copy(&mut from_server, &mut to_kubelet) => ended.map(|_| ()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection of kubelet ended");
        }
    });
    server
}

/// Passes on what comes, frame by frame.
async fn inward(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) -> io::Result<()> {
    let mut frame = vec![0; PREFACE];
    from.read_exact(&mut frame).await?;
    to.write_all(&frame).await?;
    loop {
        frame.resize(HEADER, 0);
        from.read_exact(&mut frame).await?;
        let length = usize::from(frame[0]) << 16 | usize::from(frame[1]) << 8 | usize::from(frame[2]);
        if length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
        }
        frame.resize(HEADER + length, 0);
        from.read_exact(&mut frame[HEADER..]).await?;
        to.write_all(&replaced(&frame).unwrap_or_else(|| frame.clone()))
            .await?;
    }
}

/// A frame with its authority replaced; `None` if it has none, or is not understood here.
fn replaced(frame: &[u8]) -> Option<Vec<u8>> {
    let (header, block) = frame.split_at_checked(HEADER)?;
    if header[3] != HEADERS || header[4] & FLAGS != END_HEADERS {
        return None;
    }
    // An empty one would grow.
    let value = authority(block).filter(|value| value.len() >= REPLACEMENT.len())?;
    let mut block = block.to_vec();
    block.splice(value, REPLACEMENT);
    let length = u32::try_from(block.len()).ok()?.to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&header[3..]);
    frame.append(&mut block);
    Some(frame)
}

/// Where in a block of headers the authority's value is (RFC 7541, section 6), its length included.
fn authority(block: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    while let Some(first) = block.get(at) {
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let (index, next) = integer(block, at, prefix)?;
        at = next;
        // Indexed fields and changes of the table's size are nothing but the number.
        if prefix == 7 || prefix == 5 {
            continue;
        }
        if index == 0 {
            at = string(block, at)?;
        }
        let end = string(block, at)?;
        if index == AUTHORITY {
            return Some(at..end);
        }
        at = end;
    }
    None
}

/// Where the string that begins at `at` ends.
fn string(block: &[u8], at: usize) -> Option<usize> {
    let (length, at) = integer(block, at, 7)?;
    at.checked_add(length).filter(|end| *end <= block.len())
}

/// The number whose first byte is at `at` (RFC 7541, section 5.1), and where it ends.
fn integer(block: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let mask = (1 << prefix) - 1;
    let mut value = usize::from(block.get(at)? & mask);
    if value < usize::from(mask) {
        return Some((value, at + 1));
    }
    // More than three further bytes would be a string longer than any frame.
    for place in 0..3 {
        let byte = *block.get(at + 1 + place)?;
        value += usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, at + 2 + place));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, scheme and a path, as grpc-go sends them.
    const BEFORE: &[u8] = &[0x83, 0x86, 0x45, 0x03, b'/', b'a', b'b'];
    /// A literal with a name of its own that is not to be remembered.
    const AFTER: &[u8] = &[0x00, 0x02, b't', b'e', 0x01, b'x'];

    fn frame(kind: u8, flags: u8, block: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(block);
        frame
    }

    fn block(authority: &[u8]) -> Vec<u8> {
        [BEFORE, authority, AFTER].concat()
    }

    #[test]
    fn an_authority_is_replaced_and_nothing_else() {
        let expected = frame(HEADERS, END_HEADERS, &block(&[0x41, 1, b'k']));
        for value in [
            &[0x41, 0x04, b'/', b'r', b'/', b's'][..],
            // Compressed; its bytes are of no interest.
            &[0x41, 0x83, 0xff, 0xff, 0xff],
        ] {
            let before = frame(HEADERS, END_HEADERS, &block(value));
            assert_eq!(replaced(&before), Some(expected.clone()));
        }
    }

    #[test]
    fn a_long_authority_is_replaced() {
        let path = [b'/'; 127 + 30];
        let value = [&[0x41, 0x7f, 30], &path[..]].concat();
        let before = frame(HEADERS, END_HEADERS, &block(&value));
        let expected = frame(HEADERS, END_HEADERS, &block(&[0x41, 1, b'k']));
        assert_eq!(replaced(&before), Some(expected));
    }

    #[test]
    fn an_authority_by_number_and_a_new_table_size_are_left_alone() {
        assert_eq!(
            replaced(&frame(HEADERS, END_HEADERS, &block(&[0x3f, 0x01, 0xbe]))),
            None
        );
    }

    #[test]
    fn an_empty_authority_is_left_alone() {
        assert_eq!(replaced(&frame(HEADERS, END_HEADERS, &block(&[0x41, 0]))), None);
    }

    #[test]
    fn frames_that_are_no_whole_block_of_headers_are_left_alone() {
        let block = block(&[0x41, 0x02, b'/', b'r']);
        for (kind, flags) in [
            (0, END_HEADERS),
            (HEADERS, 0),
            (HEADERS, 0x0c),
            (HEADERS, 0x24),
            (9, 0x04),
        ] {
            assert_eq!(replaced(&frame(kind, flags, &block)), None);
        }
    }

    #[test]
    fn a_block_that_is_cut_anywhere_is_left_to_the_server() {
        let whole = [BEFORE, &[0x41, 0x04, b'/', b'r', b'/', b's']].concat();
        for length in 0..whole.len() {
            assert_eq!(replaced(&frame(HEADERS, END_HEADERS, &whole[..length])), None);
        }
        assert_eq!(
            replaced(&frame(HEADERS, END_HEADERS, &[0x7f, 0xff, 0xff, 0xff, 0xff])),
            None
        );
    }
}
