//! How changes and records are written: keys and values as JSON, which an operator can read and to
//! which a later version can add fields.

use std::sync::Arc;

use redb::TableDefinition;
use serde::Serialize;

use crate::{
    journal::{Change, Hold},
    model::{Allocation, NodePool, PoolAddress, SandboxKey},
};

/// A table of JSON by JSON.
pub(super) type Table = TableDefinition<'static, &'static str, &'static [u8]>;

/// Allocations by `["network","container","interface"]`.
pub(super) const OWNED: Table = Table::new("owned");
/// Holds by `["address",generation]`.
pub(super) const HELD: Table = Table::new("held");
/// The pool, in one row.
pub(super) const POOL: Table = Table::new("pool");

const POOL_KEY: &str = "\"pool\"";

/// Which table a row is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Owned,
    Held,
    Pool,
}

/// One row to be put, or removed.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

pub(super) fn encode(change: &Change) -> serde_json::Result<Write> {
    match change {
        Change::Own(key, allocation) => put(Kind::Owned, owned_key(key)?, allocation),
        Change::Disown(key) => Ok(Write {
            kind: Kind::Owned,
            key: owned_key(key)?,
            value: None,
        }),
        Change::Hold(address, hold) => put(Kind::Held, held_key(*address)?, hold),
        Change::Unhold(address) => Ok(Write {
            kind: Kind::Held,
            key: held_key(*address)?,
            value: None,
        }),
        Change::Pool(pool) => put(Kind::Pool, POOL_KEY.to_owned(), pool),
    }
}

pub(super) fn owned(key: &str, value: &[u8]) -> serde_json::Result<(SandboxKey, Allocation)> {
    let (network, container, interface): (Arc<str>, Arc<str>, Arc<str>) = serde_json::from_str(key)?;
    Ok((
        SandboxKey {
            network,
            container,
            interface,
        },
        serde_json::from_slice(value)?,
    ))
}

pub(super) fn held(key: &str, value: &[u8]) -> serde_json::Result<(PoolAddress, Hold)> {
    let (ip, generation) = serde_json::from_str(key)?;
    Ok((PoolAddress { ip, generation }, serde_json::from_slice(value)?))
}

pub(super) fn pool(_key: &str, value: &[u8]) -> serde_json::Result<NodePool> {
    serde_json::from_slice(value)
}

fn put(kind: Kind, key: String, value: &impl Serialize) -> serde_json::Result<Write> {
    Ok(Write {
        kind,
        key,
        value: Some(serde_json::to_vec(value)?),
    })
}

fn owned_key(key: &SandboxKey) -> serde_json::Result<String> {
    serde_json::to_string(&(&key.network, &key.container, &key.interface))
}

fn held_key(address: PoolAddress) -> serde_json::Result<String> {
    serde_json::to_string(&(address.ip, address.generation))
}
