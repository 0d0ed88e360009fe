//! Keys in a file, as Tencent's command line tool keeps them: lines `name = value` in the section `[default]`.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;

use super::{
    Credentials, CredentialsError,
    issuers::{Issued, Issuer},
};

/// How often the file is read: Kubernetes needs as long to bring a changed Secret to a pod.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct KeyFile(pub(super) PathBuf);

#[async_trait]
impl Issuer for KeyFile {
    async fn issue(&self) -> Result<Issued, CredentialsError> {
        let fail = |what: String| CredentialsError(format!("{}: {what}", self.0.display()));
        let text = tokio::fs::read_to_string(&self.0)
            .await
            .map_err(|error| fail(error.to_string()))?;
        let keys = parse(&text).ok_or_else(|| {
            fail("it wants a section [default] with secret_id and secret_key, one to a line".to_owned())
        })?;
        Ok(Issued {
            keys,
            expires: None,
            look_again: Some(LOOK_AGAIN),
        })
    }
}

fn parse(text: &str) -> Option<Credentials> {
    let mut ours = false;
    let (mut id, mut key, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            ours = section.trim() == "default";
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| ours) else {
            continue;
        };
        let value = Some(value.trim()).filter(|value| !value.is_empty());
        match name.trim() {
            "secret_id" => id = value,
            "secret_key" => key = value,
            "token" => token = value,
            _ => {}
        }
    }
    let keys = Credentials::new(id?, key?);
    Some(match token {
        Some(token) => keys.with_token(token),
        None => keys,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_section_is_read() {
        let text = "[other]\nsecret_id=x\n[default]\n# mine\nsecret_id = a\nsecret_key=b=c\nregion = r\n[more]\nsecret_id=y";
        let keys = parse(text).unwrap();
        assert_eq!((keys.secret_id(), keys.token().is_some()), ("a", false));
        assert!(
            parse("[default]\nsecret_id=a\nsecret_key=b\ntoken=t")
                .unwrap()
                .token()
                .is_some()
        );
    }

    #[test]
    fn a_file_without_both_halves_has_no_keys() {
        for text in [
            "",
            "[default]\nsecret_id=a",
            "secret_id=a\nsecret_key=b",
            "[default]\nsecret_id=a\nsecret_key=",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
