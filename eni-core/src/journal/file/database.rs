//! The database behind the journal: made, opened, read and written. Blocking.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError, backends::FileBackend,
};

use super::{
    codec::{self, HELD, Kind, OWNED, POOL, Table, Write},
    failure,
};
use crate::journal::{JournalError, Memory};

/// The version of the tables and their rows. A version that older programs would misread gets the next
/// number. A new field that they may ignore does not: a row that they do not write keeps it. Nor does a
/// new state of an address: an older program refuses a journal that holds one, and takes others.
pub(super) const FORMAT: u32 = 1;

const FORMAT_TABLE: TableDefinition<'static, &'static str, u32> = TableDefinition::new("format");
const FORMAT_KEY: &str = "version";

/// A node holds some thousands of rows at most.
const CACHE_BYTES: usize = 4 << 20;

/// What to do about a file that cannot be trusted.
const RESCUE: &str = "it was left as it is: drain the node, keep the file for analysis, move it away and \
                      restart the agent";

/// Which file a path leads to: its device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    /// The file at `path`; `None` if there is none.
    fn of(path: &Path) -> Result<Option<Self>, JournalError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self(metadata.dev(), metadata.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(inaccessible(path, &error)),
        }
    }

    /// The file at `path`, which must be there.
    pub(super) fn present(path: &Path) -> Result<Self, JournalError> {
        Self::of(path)?.ok_or_else(|| vanished(path))
    }

    /// An error unless `path` still leads to this file. What is written to one that is gone is lost with
    /// the process.
    pub(super) fn confirm(self, path: &Path) -> Result<(), JournalError> {
        match Self::of(path)? {
            Some(there) if there == self => Ok(()),
            _ => Err(vanished(path)),
        }
    }
}

fn vanished(path: &Path) -> JournalError {
    let message = "its file has vanished or is another one; find out what removed it, then restart the \
                   agent, which looks for the owners in the kernel";
    failure(path, message)
}

/// An open journal file.
pub(super) struct Store {
    path: PathBuf,
    database: Database,
}

impl Store {
    /// Opens the file, or makes it where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        if !exists(path)? {
            make(path)?;
        }
        Self::open_existing(path)
    }

    /// Opens again a file that was open a moment ago. If it is gone, so is what it remembered: an empty
    /// one, or an older one in its place would be believed.
    pub(super) fn reopen(path: &Path, file: Identity) -> Result<Self, JournalError> {
        file.confirm(path)?;
        Self::open_existing(path)
    }

    fn open_existing(path: &Path) -> Result<Self, JournalError> {
        let database = builder().open(path).map_err(|error| unopened(path, error))?;
        let store = Self {
            path: path.to_owned(),
            database,
        };
        store.check_format()?;
        Ok(store)
    }

    pub(super) fn load(&self) -> Result<Memory, JournalError> {
        let pool = self.rows(POOL, codec::pool)?.pop();
        Ok(Memory {
            owned: self.rows(OWNED, codec::owned)?,
            held: self.rows(HELD, codec::held)?,
            pool,
        })
    }

    /// Makes rows durable, all or none.
    pub(super) fn commit<'a>(&self, writes: impl Iterator<Item = &'a Write>) -> Result<(), JournalError> {
        write(&self.database, writes).map_err(|error| {
            let advice = "the outcome is unknown; check the disk and restart the agent";
            failure(&self.path, format!("a commit failed ({error}); {advice}"))
        })
    }

    fn check_format(&self) -> Result<(), JournalError> {
        let version = read_format(&self.database).map_err(|error| damaged(&self.path, &error))?;
        if version > FORMAT {
            let message = format!(
                "it has format {version}, and this version knows formats up to {FORMAT}; run the newer \
                 version that wrote it, or drain the node and move the file away"
            );
            return Err(failure(&self.path, message));
        }
        Ok(())
    }

    /// Every row of a table. One that this version does not understand is an error: whatever it says
    /// keeps an address from being given out.
    fn rows<T>(
        &self,
        table: Table,
        decode: impl Fn(&str, &[u8]) -> serde_json::Result<T>,
    ) -> Result<Vec<T>, JournalError> {
        let mut rows = Vec::new();
        for (key, value) in self.raw(table).map_err(|error| damaged(&self.path, &error))? {
            rows.push(decode(&key, &value).map_err(|error| {
                let row = format!("row {key} of `{table}`: {error}");
                match error.is_data() {
                    true => unknown(&self.path, &row),
                    false => damaged(&self.path, &row),
                }
            })?);
        }
        Ok(rows)
    }

    fn raw(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
        let mut rows = Vec::new();
        for row in self.database.begin_read()?.open_table(table)?.iter()? {
            let (key, value) = row?;
            rows.push((key.value().to_owned(), value.value().to_vec()));
        }
        Ok(rows)
    }
}

fn exists(path: &Path) -> Result<bool, JournalError> {
    path.try_exists().map_err(|error| inaccessible(path, &error))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // Without the check a damaged page would be noticed late, or trusted.
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    builder
}

/// Makes an empty journal, which appears under its name only when it is whole.
fn make(path: &Path) -> Result<(), JournalError> {
    let refused = |error| inaccessible(path, &error);
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let draft = path.with_added_extension(format!("{}.new", process::id()));
    fs::create_dir_all(directory).map_err(refused)?;
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(refused)?;
    let database = FileBackend::new(file).and_then(|file| builder().create_with_backend(file));
    initialise(database.map_err(|error| unopened(path, error))?)
        .map_err(|error| failure(path, format!("it cannot be made ({error}); check the disk")))?;
    // A link, unlike a rename, never replaces a journal that another process just made.
    match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(refused)?,
    }
    fs::remove_file(&draft).map_err(refused)?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(refused)
}

fn initialise(database: Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(FORMAT_TABLE)?.insert(FORMAT_KEY, FORMAT)?;
    for table in [OWNED, HELD, POOL] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    database.close()?;
    Ok(())
}

fn read_format(database: &Database) -> Result<u32, Box<dyn std::error::Error>> {
    let table = match database.begin_read()?.open_table(FORMAT_TABLE) {
        Err(TableError::TableDoesNotExist(_)) => return Err("it is not a journal".into()),
        table => table?,
    };
    Ok(table
        .get(FORMAT_KEY)?
        .ok_or("its format version is missing")?
        .value())
}

fn write<'a>(database: &Database, writes: impl Iterator<Item = &'a Write>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut owned = transaction.open_table(OWNED)?;
        let mut held = transaction.open_table(HELD)?;
        let mut pool = transaction.open_table(POOL)?;
        for write in writes {
            let table = match write.kind {
                Kind::Owned => &mut owned,
                Kind::Held => &mut held,
                Kind::Pool => &mut pool,
            };
            match &write.value {
                Some(value) => table.insert(write.key.as_str(), value.as_slice())?,
                None => table.remove(write.key.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

fn unopened(path: &Path, error: DatabaseError) -> JournalError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => failure(
            path,
            "another process has it open; only one agent may run on a node",
        ),
        DatabaseError::UpgradeRequired(_) => failure(
            path,
            format!("its file format is another one ({error}); run the version that wrote it"),
        ),
        DatabaseError::Storage(StorageError::Io(error)) if !speaks_of_content(&error) => {
            inaccessible(path, &error)
        }
        error => damaged(path, &error),
    }
}

/// Whether the file could be read, but ends early or is no database.
fn speaks_of_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

fn inaccessible(path: &Path, error: &io::Error) -> JournalError {
    failure(
        path,
        format!("it cannot be opened or made ({error}); check the directory, its rights and the disk"),
    )
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> JournalError {
    failure(path, format!("it is damaged ({error}); {RESCUE}"))
}

/// A row that is whole and says something that this version has no word for.
fn unknown(path: &Path, row: &str) -> JournalError {
    let message = format!(
        "it holds what this version does not know ({row}); run the newer version that wrote it, or drain \
         the node and move the file away"
    );
    failure(path, message)
}
