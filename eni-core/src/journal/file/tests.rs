//! Reopening, damage, and death in the middle of commits.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use futures::future::join_all;
use jiff::Timestamp;
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::{
    FileJournal,
    codec::{HELD, OWNED},
    database::FORMAT,
};
use crate::{
    journal::{Change, Hold, Journal, Memory},
    model::{Allocation, Generation, NodePool, PodAddresses, PoolAddress, SandboxKey},
};

/// The path of the journal of the child process that is killed.
const CHILD_JOURNAL: &str = "ENI_CORE_TEST_CHILD_JOURNAL";

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state").join("journal");
    (directory, path)
}

fn key(number: u32) -> SandboxKey {
    SandboxKey::new("tke", format!("container-{number}"), "eth0")
}

fn address(number: u32) -> PoolAddress {
    PoolAddress {
        ip: Ipv4Addr::from_bits(0x0a00_0000 + number).into(),
        generation: Generation::from_random(number.into()),
    }
}

fn allocation(number: u32) -> Allocation {
    Allocation {
        addresses: PodAddresses::from(address(number).ip),
        eni: "eni-1".into(),
        pod: None,
        pod_uid: Some("uid".into()),
        origin: None,
    }
}

/// Two rows that belong together.
fn pair(number: u32) -> Vec<Change> {
    vec![
        Change::Own(key(number), allocation(number)),
        Change::Hold(address(number), Hold::Withdrawn),
    ]
}

async fn filled(path: &Path, commits: u32) -> Memory {
    let journal = FileJournal::open(path).await.unwrap();
    for number in 0..commits {
        journal.commit(pair(number)).await.unwrap();
    }
    journal.load().await.unwrap()
}

async fn refusal(path: &Path) -> String {
    match FileJournal::open(path).await {
        Ok(journal) => panic!("{} was opened", journal.path.display()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let (_directory, path) = place();
    let mut expected = filled(&path, 3).await;
    let journal = FileJournal::open(&path).await.unwrap();
    let cooling = Hold::Cooling {
        until: "2026-01-01T00:00:30Z".parse::<Timestamp>().unwrap(),
        uptime: None,
    };
    let pool = NodePool {
        capacity: 9,
        ..NodePool::default()
    };
    let changes = vec![
        Change::Disown(key(0)),
        Change::Hold(address(0), cooling.clone()),
        Change::Unhold(address(1)),
        Change::Pool(pool.clone()),
    ];
    journal.commit(changes).await.unwrap();
    drop(journal);

    expected.owned.remove(0);
    expected.held = vec![(address(0), cooling), (address(2), Hold::Withdrawn)];
    expected.pool = Some(pool);
    assert_eq!(
        FileJournal::open(&path).await.unwrap().load().await.unwrap(),
        expected
    );
}

#[tokio::test]
async fn the_file_is_private_and_its_directory_is_made() {
    let (_directory, path) = place();
    filled(&path, 1).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["journal"], "no draft is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_are_all_there() {
    let (_directory, path) = place();
    let journal = FileJournal::open(&path).await.unwrap();
    for result in join_all((0..500).map(|number| journal.commit(pair(number)))).await {
        result.unwrap();
    }
    drop(journal);
    let memory = FileJournal::open(&path).await.unwrap().load().await.unwrap();
    assert_eq!((memory.owned.len(), memory.held.len()), (500, 500));
}

#[tokio::test]
async fn only_one_can_have_it_open() {
    let (_directory, path) = place();
    let journal = FileJournal::open(&path).await.unwrap();
    let message = refusal(&path).await;
    assert!(message.contains("another process"), "{message}");
    journal.commit(pair(1)).await.unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let (_directory, path) = place();
    filled(&path, 1).await;
    edit(&path, |transaction| {
        let mut table = transaction
            .open_table(TableDefinition::<&str, u32>::new("format"))
            .unwrap();
        table.insert("version", FORMAT + 1).unwrap();
    });
    let message = refusal(&path).await;
    assert!(message.contains(&format!("format {}", FORMAT + 1)), "{message}");
}

#[tokio::test]
async fn a_database_of_something_else_is_refused() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    drop(Database::create(&path).unwrap());
    let message = refusal(&path).await;
    assert!(message.contains("not a journal"), "{message}");
}

#[tokio::test]
async fn unknown_fields_are_tolerated_and_nonsense_is_not() {
    let (_directory, path) = place();
    filled(&path, 1).await;
    let put = |value: &'static [u8]| {
        edit(&path, |transaction| {
            let mut table = transaction.open_table(OWNED).unwrap();
            table.insert(r#"["tke","container-7","eth0"]"#, value).unwrap();
        });
    };
    put(br#"{"addresses":{"v4":"10.0.0.7","v5":1},"eni":"eni-1","colour":"blue"}"#);
    let memory = FileJournal::open(&path).await.unwrap().load().await.unwrap();
    assert_eq!(memory.owned[1].0, key(7));

    put(b"nonsense");
    let message = FileJournal::open(&path)
        .await
        .unwrap()
        .load()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("container-7") && message.contains("drain the node"),
        "{message}"
    );
}

/// A newer version of the same format wrote something that this one has no word for: neither dropped
/// nor taken for damage.
#[tokio::test]
async fn a_state_of_an_address_that_is_not_known_is_refused_and_left_alone() {
    let (_directory, path) = place();
    filled(&path, 1).await;
    edit(&path, |transaction| {
        let mut table = transaction.open_table(HELD).unwrap();
        let value: &[u8] = br#"{"state":"quarantined","since":"2027-01-01T00:00:00Z"}"#;
        table.insert(r#"["10.0.0.9",7]"#, value).unwrap();
    });
    let journal = FileJournal::open(&path).await.unwrap();
    let message = journal.load().await.unwrap_err().to_string();
    assert!(
        message.contains("quarantined") && message.contains("run the newer version"),
        "{message}"
    );
    edit_after(journal, &path, |transaction| {
        let table = transaction.open_table(HELD).unwrap();
        assert!(
            redb::ReadableTable::get(&table, r#"["10.0.0.9",7]"#)
                .unwrap()
                .is_some()
        );
    });
}

#[tokio::test]
async fn fields_that_are_not_known_stay_in_rows_that_are_not_written() {
    let (_directory, path) = place();
    filled(&path, 1).await;
    let (row, value) = (
        r#"["10.0.0.9",7]"#,
        r#"{"state":"withdrawn","since":"2027-01-01T00:00:00Z"}"#,
    );
    edit(&path, |transaction| {
        let mut table = transaction.open_table(HELD).unwrap();
        table.insert(row, value.as_bytes()).unwrap();
    });
    let journal = FileJournal::open(&path).await.unwrap();
    assert_eq!(journal.load().await.unwrap().held.len(), 2);
    journal.commit(pair(2)).await.unwrap();
    edit_after(journal, &path, |transaction| {
        let table = transaction.open_table(HELD).unwrap();
        let kept = redb::ReadableTable::get(&table, row).unwrap().unwrap();
        assert_eq!(kept.value(), value.as_bytes());
    });
}

/// Every part of the file in turn is overwritten: the journal must notice, or hold exactly what it held
/// (where the part was unused).
#[tokio::test]
async fn damage_is_noticed_and_never_overwritten() {
    let (_directory, path) = place();
    let expected = filled(&path, 40).await;
    let sound = fs::read(&path).unwrap();
    let mut noticed = 0;
    for offset in (0..sound.len()).step_by(512) {
        let mut damaged = sound.clone();
        damaged[offset..offset + 64]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x55);
        fs::write(&path, &damaged).unwrap();
        match FileJournal::open(&path).await {
            Ok(journal) => assert_eq!(journal.load().await.unwrap(), expected, "at {offset}"),
            Err(error) => {
                assert!(
                    error.to_string().contains("drain the node"),
                    "at {offset}: {error}"
                );
                assert_eq!(
                    fs::read(&path).unwrap(),
                    damaged,
                    "at {offset}: it is left as it is"
                );
                noticed += 1;
            }
        }
    }
    assert!(noticed > 10, "only {noticed} of the file's parts matter");
    for length in [0, 100, sound.len() / 2] {
        fs::write(&path, &sound[..length]).unwrap();
        let message = refusal(&path).await;
        assert!(
            message.contains("damaged") && message.contains("drain the node"),
            "{length}: {message}"
        );
        assert_eq!(fs::read(&path).unwrap(), &sound[..length], "it is left as it is");
    }
}

/// A child commits and tells what was acknowledged until it is killed.
#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let (_directory, path) = place();
    for round in 0..5u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "journal::file::tests::child_that_commits_until_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_JOURNAL, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let wanted = 20 + 13 * round as usize;
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let told = |line: String| {
            line.strip_prefix("acknowledged ")
                .and_then(|number| number.parse().ok())
        };
        let mut acknowledged: Vec<u32> = lines.by_ref().filter_map(told).take(wanted).collect();
        assert_eq!(acknowledged.len(), wanted, "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(lines.filter_map(told));

        let memory = FileJournal::open(&path).await.unwrap().load().await.unwrap();
        for number in acknowledged {
            assert!(
                memory.owned.contains(&(key(number), allocation(number))),
                "round {round} lost {number}"
            );
        }
        let mut owned: Vec<_> = memory
            .owned
            .iter()
            .map(|(_, owned)| owned.addresses.iter().next().unwrap())
            .collect();
        let held: Vec<_> = memory.held.iter().map(|(address, _)| address.ip).collect();
        owned.sort();
        assert!(
            owned.iter().all(|ip| held.contains(ip)) && owned.len() == held.len(),
            "a part of a commit"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as the child of a_killed_process_loses_nothing_that_was_acknowledged"]
async fn child_that_commits_until_killed() {
    let Some(path) = std::env::var_os(CHILD_JOURNAL) else {
        return;
    };
    let journal = FileJournal::open(PathBuf::from(path)).await.unwrap();
    let begin = journal.load().await.unwrap().owned.len() as u32;
    for group in (begin..).step_by(4) {
        let commits = (group..group + 4).map(async |number| {
            journal.commit(pair(number)).await.unwrap();
            writeln!(std::io::stdout(), "acknowledged {number}").unwrap();
        });
        join_all(commits).await;
    }
}

fn edit_after(journal: FileJournal, path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    drop(journal);
    edit(path, change);
}

fn edit(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}
