//! The book on disk, behind the core's trait.

use std::{
    fs, io,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use eni_core::{
    cloud::{
        AssignAddresses, Capabilities, Cloud, CloudError, CloudErrorKind, CloudResult, CreateEni, EniFilter,
    },
    model::{Eni, EniId, Instance, InstanceId, InstanceState, Limits, Subnet, SubnetId, VpcId},
};
use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use crate::{
    book::{Book, refused},
    plan::{Plan, PlanError},
};

/// Addresses that one order may be of. Any number would do here; a cloud has a limit.
const BATCH: u32 = 10;

/// ENIs that one listing may name.
const NAMED: usize = 100;

/// Machines and addresses that were there before.
#[derive(Clone, Debug)]
pub struct StaticPool {
    plan: Arc<Plan>,
    shelf: Arc<Mutex<Shelf>>,
}

/// The book, and where it is kept.
#[derive(Debug)]
struct Shelf {
    book: Book,
    file: PathBuf,
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The book.
    #[error("{}: {source}; without the book nobody knows which addresses are taken: put the file back", file.display())]
    Book {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

impl StaticPool {
    /// The pool of a plan, with its book in `file`, which is made if there is none.
    pub fn open(plan: Plan, file: impl Into<PathBuf>) -> Result<Self, OpenError> {
        plan.check()?;
        let file = file.into();
        let book = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Book::default()),
            Err(error) => Err(error),
        };
        match book {
            Ok(book) => Ok(Self {
                plan: Arc::new(plan),
                shelf: Arc::new(Mutex::new(Shelf { book, file })),
            }),
            Err(source) => Err(OpenError::Book { file, source }),
        }
    }

    /// Makes an entry, which is on disk before it is answered. It is made whole even if nobody waits for it any more.
    async fn write<T: Send + 'static>(
        &self,
        entry: impl FnOnce(&mut Book, &Plan) -> CloudResult<T> + Send + 'static,
    ) -> CloudResult<T> {
        let pool = self.clone();
        let written = spawn_blocking(move || {
            let mut shelf = pool.shelf.lock();
            let mut book = shelf.book.clone();
            let answer = entry(&mut book, &pool.plan)?;
            if book != shelf.book {
                save(&book, &shelf.file).map_err(|error| {
                    refused(
                        CloudErrorKind::Unavailable,
                        "writing",
                        shelf.file.display(),
                        &error.to_string(),
                    )
                })?;
                shelf.book = book;
            }
            Ok(answer)
        });
        match written.await {
            Ok(answer) => answer,
            Err(error) => Err(refused(
                CloudErrorKind::Unavailable,
                "writing",
                "the book",
                &error.to_string(),
            )),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        read(&self.shelf.lock().book)
    }
}

/// Puts a book in the place of the one before, or leaves that.
fn save(book: &Book, file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut new = NamedTempFile::new_in(directory)?;
    new.write_all(&serde_json::to_vec(book)?)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    fs::File::open(directory)?.sync_all()
}

#[async_trait]
impl Cloud for StaticPool {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.assign_batch = BATCH;
        capabilities.unassign_batch = BATCH;
        capabilities.describe_batch = NAMED;
        capabilities
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        let machines = ids.iter().filter_map(|id| self.plan.machine(id));
        let instances = machines.map(|machine| Instance {
            id: machine.id.clone(),
            zone: machine.zone.clone(),
            vpc: VpcId::from("static"),
            // What stands there is on; nobody here knows better.
            state: InstanceState::Running,
        });
        Ok(instances.collect())
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        let machine = self.plan.machine(instance);
        let missing = || {
            refused(
                CloudErrorKind::NotFound,
                "limits",
                instance,
                "there is no such machine",
            )
        };
        Ok(machine
            .ok_or_else(missing)?
            .limits(self.plan.addresses_per_interface))
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        let one = |id: &SubnetId| {
            let range = self.plan.range(id);
            let missing = || refused(CloudErrorKind::NotFound, "subnets", id, "there is no such range");
            self.read(|book| Ok(book.subnet(range.ok_or_else(missing)?)))
        };
        ids.iter().map(one).collect()
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        let mut enis = self.read(|book| book.enis(&self.plan));
        enis.retain(|eni| match filter {
            EniFilter::Ids(ids) => ids.contains(&eni.id),
            EniFilter::Instance(instance) => eni.instance.as_ref() == Some(instance),
            EniFilter::Tags(tags) => tags.iter().all(|(key, value)| eni.tags.get(key) == Some(value)),
        });
        Ok(enis)
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        let request = request.clone();
        self.write(move |book, plan| book.create(plan, &request)).await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        let (eni, instance) = (eni.clone(), instance.clone());
        self.write(move |book, plan| book.attach(plan, &eni, &instance))
            .await
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        let eni = eni.clone();
        self.write(move |book, _| book.detach(&eni)).await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        let eni = eni.clone();
        self.write(move |book, _| book.delete(&eni)).await
    }

    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        let (eni, request) = (eni.clone(), request.clone());
        self.write(move |book, plan| book.assign(plan, &eni, &request))
            .await
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        let (eni, addresses) = (eni.clone(), addresses.to_vec());
        self.write(move |book, _| book.unassign(&eni, &addresses)).await
    }

    async fn migrate_address(&self, from: &EniId, _: &EniId, address: IpAddr) -> CloudResult<()> {
        let message = "an address of this cloud stays on its interface";
        Err(CloudError::new(
            CloudErrorKind::Invalid,
            "migrate_address",
            format!("{address} of {from}"),
            message,
        ))
    }
}
