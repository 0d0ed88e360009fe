//! The signature TC3-HMAC-SHA256, as a function of a request and nothing else.
//!
//! Source: Tencent Cloud's API documentation, "Signature Method v3". Two traps that it hides: the
//! content type must be signed byte for byte as it is sent, and the host includes a port that is not
//! the scheme's own.

use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, tz::TimeZone};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::Credentials;

/// The algorithm's name, first word of the header `Authorization` and first line of what is signed.
pub const ALGORITHM: &str = "TC3-HMAC-SHA256";

/// Ends every credential scope.
const TERMINATOR: &str = "tc3_request";

/// A request, as far as its signature depends on it.
///
/// The API's action, region and version travel in headers; they are authenticated only if they stand in
/// [`extra_headers`](Self::extra_headers). The official clients sign `content-type` and `host` alone.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `POST` or `GET`.
    pub method: &'a str,
    /// The header `Host` as sent.
    pub host: &'a str,
    /// The header `Content-Type` as sent.
    pub content_type: &'a str,
    /// More headers to sign: any order, any case, each name once.
    pub extra_headers: &'a [(&'a str, &'a str)],
    /// The text after `?` as sent; empty for `POST`.
    pub query: &'a str,
    /// The body.
    pub payload: Payload<'a>,
    /// The header `X-TC-Timestamp`, of which whole seconds count. The server accepts 300 s of skew.
    pub timestamp: Timestamp,
    /// The product, such as `vpc`: the first label of the official host name.
    pub service: &'a str,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// These bytes, which the signature covers; empty for `GET`.
    Signed(&'a [u8]),
    /// Whatever is sent with the header `X-TC-Content-SHA256: UNSIGNED-PAYLOAD`.
    Unsigned,
}

impl Request<'_> {
    /// The header `Authorization`.
    pub fn authorization(&self, credentials: &Credentials) -> String {
        format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={}",
            credentials.secret_id(),
            self.scope(),
            self.headers().1,
            self.signature(credentials),
        )
    }

    /// The signature, in lower-case hexadecimal.
    pub fn signature(&self, credentials: &Credentials) -> String {
        let secret = format!("TC3{}", credentials.secret_key().expose_secret());
        let key = [&*self.date(), self.service, TERMINATOR]
            .iter()
            .fold(secret.into_bytes(), |key, part| hmac(&key, part));
        base16ct::lower::encode_string(&hmac(&key, &self.string_to_sign()))
    }

    /// The text that is signed.
    pub fn string_to_sign(&self) -> String {
        format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            self.timestamp.as_second(),
            self.scope(),
            sha256(self.canonical().as_bytes()),
        )
    }

    /// Date, service and terminator: what a derived key is good for. The date is that of UTC.
    pub fn scope(&self) -> String {
        format!("{}/{}/{TERMINATOR}", self.date(), self.service)
    }

    /// The request in the canonical form whose hash is signed.
    pub fn canonical(&self) -> String {
        let (headers, names) = self.headers();
        let payload = match self.payload {
            Payload::Signed(bytes) => sha256(bytes),
            Payload::Unsigned => sha256(b"UNSIGNED-PAYLOAD"),
        };
        format!(
            "{}\n/\n{}\n{headers}\n{names}\n{payload}",
            self.method, self.query
        )
    }

    fn date(&self) -> String {
        self.timestamp.to_zoned(TimeZone::UTC).date().to_string()
    }

    /// The signed headers in canonical form, each on its line, and their names.
    fn headers(&self) -> (String, String) {
        let mut headers: Vec<(String, String)> = [("content-type", self.content_type), ("host", self.host)]
            .iter()
            .chain(self.extra_headers)
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_lowercase()))
            .collect();
        headers.sort();
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        (lines, names.join(";"))
    }
}

fn sha256(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
