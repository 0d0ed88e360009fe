//! A question to the agent's introspection socket.

use std::path::Path;

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::error::Error;

/// The answer of a page.
pub(super) async fn get<T: DeserializeOwned>(socket: &Path, page: &str) -> Result<T, Error> {
    let failed = |message: String| Error::Agent {
        socket: socket.to_owned(),
        message,
    };
    let answer = exchange(socket, page)
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(serde_json::from_str(body(&answer).map_err(failed)?)?)
}

async fn exchange(socket: &Path, page: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    // Of this version the answer comes in one piece, and ends with the connection.
    let request = format!("GET {page} HTTP/1.0\r\nHost: agent\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn body(answer: &str) -> Result<&str, String> {
    let parts = answer.split_once("\r\n\r\n");
    match parts {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body),
        _ => Err(format!(
            "it answers {:?}",
            answer.lines().next().unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_succeeded_has_a_body() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\n[]"), Ok("[]"));
        assert!(
            body("HTTP/1.0 404 Not Found\r\n\r\n[]")
                .unwrap_err()
                .contains("404")
        );
        assert!(body("").is_err());
    }
}
