//! A journal's rows. The file is copied first: to open a journal may repair it, and an agent may have it open.

use std::{fs, path::Path};

use eni_core::journal::{FileJournal, Hold, Journal, Memory};
use serde::Serialize;

use crate::{
    error::Error,
    table::{Row, dash},
};

/// An address that a journal speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalRow {
    /// The address.
    pub ip: String,
    /// `owned`, `cooling` with its end, `withdrawn`, or `free`.
    pub state: String,
    /// The ENI that carries it.
    pub eni: Option<String>,
    /// The interface that owns it.
    pub interface: Option<String>,
    /// The pod of the interface.
    pub pod: Option<String>,
}

impl Row for JournalRow {
    const TITLES: &'static [&'static str] = &["ADDRESS", "STATE", "ENI", "POD", "INTERFACE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.ip.clone(),
            self.state.clone(),
            dash(self.eni.as_ref()),
            dash(self.pod.as_ref()),
            dash(self.interface.as_ref()),
        ]
    }
}

/// Reads a copy of a journal.
///
/// # Errors
///
/// [`Error::Copy`] if it cannot be read; [`Error::Journal`] if it is none, is damaged, or is of a newer version.
pub async fn read(file: &Path) -> Result<Memory, Error> {
    let failed = |source| Error::Copy {
        path: file.to_owned(),
        source,
    };
    let directory = tempfile::tempdir().map_err(failed)?;
    let copy = directory.path().join("journal");
    fs::copy(file, &copy).map_err(failed)?;
    let journal = FileJournal::open(&copy).await?;
    Ok(journal.load().await?)
}

/// The rows: what is owned, what is held back, and what else is in the pool.
pub fn rows(memory: &Memory) -> Vec<JournalRow> {
    let mut rows = Vec::new();
    for (key, owned) in &memory.owned {
        rows.extend(owned.addresses.iter().map(|ip| JournalRow {
            ip: ip.to_string(),
            state: "owned".to_owned(),
            eni: Some(owned.eni.to_string()),
            interface: Some(key.to_string()),
            pod: owned.pod.as_ref().map(ToString::to_string),
        }));
    }
    let pool: Vec<_> = memory
        .pool
        .iter()
        .flat_map(|pool| &pool.enis)
        .flat_map(|eni| {
            eni.attached
                .iter()
                .map(move |address| (address.ip.to_string(), eni.id.to_string()))
        })
        .collect();
    for (address, hold) in &memory.held {
        let ip = address.ip.to_string();
        rows.push(JournalRow {
            eni: pool
                .iter()
                .find(|(attached, _)| *attached == ip)
                .map(|(_, eni)| eni.clone()),
            ip,
            state: match hold {
                Hold::Cooling { until, .. } => format!("cooling until {until}"),
                Hold::Withdrawn => "withdrawn".to_owned(),
                other => format!("{other:?}"),
            },
            interface: None,
            pod: None,
        });
    }
    for (ip, eni) in pool {
        if rows.iter().all(|row| row.ip != ip) {
            rows.push(JournalRow {
                ip,
                state: "free".to_owned(),
                eni: Some(eni),
                interface: None,
                pod: None,
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use eni_core::{
        journal::Change,
        model::{Allocation, Generation, PodAddresses, PodKey, PoolAddress, SandboxKey},
    };

    use super::*;

    #[tokio::test]
    async fn a_journal_is_read_while_an_agent_has_it_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("journal");
        let journal = FileJournal::open(&file).await.unwrap();
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let allocation = Allocation {
            addresses: PodAddresses::from(ip(1)),
            eni: "eni-1".into(),
            pod: Some(PodKey::new("shop", "web")),
            pod_uid: None,
            origin: None,
        };
        let address = PoolAddress {
            ip: ip(2),
            generation: Generation::from_random(1),
        };
        let changes = vec![
            Change::Own(SandboxKey::new("tke", "c-1", "eth0"), allocation),
            Change::Hold(address, Hold::Withdrawn),
        ];
        journal.commit(changes).await.unwrap();
        let before = fs::read(&file).unwrap();
        let rows = rows(&read(&file).await.unwrap());
        let lines: Vec<_> = rows.iter().map(|row| row.cells().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "10.0.0.1 owned eni-1 shop/web tke/c-1/eth0",
                "10.0.0.2 withdrawn - - -"
            ]
        );
        assert_eq!(fs::read(&file).unwrap(), before);
        drop(journal);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("journal");
        let error = read(&file).await.unwrap_err();
        assert!(matches!(error, Error::Copy { .. }), "{error}");
        assert!(!file.exists());
        fs::write(&file, "no journal").unwrap();
        let error = read(&file).await.unwrap_err();
        assert!(matches!(error, Error::Journal(_)), "{error}");
    }
}
