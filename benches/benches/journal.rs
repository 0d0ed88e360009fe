//! The node's journal on a file: how long an agent with 250 pods needs to know them again, and one with 10,000, and
//! what a commit costs alone and among others.
//!
//! The yardstick of a commit is the least that durability takes: some bytes appended to a file, and one
//! flush of the disk. Commits that wait together share a flush, so 64 of them cost far less than 64 times
//! one.

use std::{fs::File, hint::black_box, io::Write, path::Path};

use criterion::{Criterion, criterion_group, criterion_main};
use eni_core::{
    journal::{Change, FileJournal, Journal},
    model::{Allocation, PodAddresses, PodKey, SandboxKey},
};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const PODS: [u32; 2] = [250, 10_000];
const TOGETHER: u32 = 64;

fn journal(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let directory = TempDir::new().expect("a directory");
    let path = |pods: u32| directory.path().join(format!("journal-{pods}"));

    let mut group = criterion.benchmark_group("journal");
    group.sample_size(20);
    for pods in PODS {
        let path = path(pods);
        fill(&runtime, &path, pods);
        group.bench_function(format!("open+load of {pods} owners"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let journal = FileJournal::open(&path).await.expect("a journal");
                    black_box(journal.load().await.expect("what is remembered"))
                })
            });
        });
    }
    let open = runtime
        .block_on(FileJournal::open(path(PODS[0])))
        .expect("a journal");
    for count in [1, TOGETHER] {
        group.bench_function(format!("{count} commits together"), |bencher| {
            bencher.iter(|| {
                let commits = (0..count).map(|number| open.commit(own(number)));
                for result in runtime.block_on(join_all(commits)) {
                    result.expect("a commit");
                }
            });
        });
    }
    group.bench_function("yardstick: append and flush", |bencher| {
        let mut file = File::create(directory.path().join("yardstick")).expect("a file");
        bencher.iter(|| {
            file.write_all(&[0; 256]).expect("a write");
            file.sync_data().expect("a flush");
        });
    });
    group.finish();
}

fn fill(runtime: &Runtime, path: &Path, pods: u32) {
    let journal = runtime.block_on(FileJournal::open(path)).expect("a journal");
    let mut changes = vec![Change::Pool(benches::pool(pods))];
    changes.extend((0..pods).flat_map(own));
    runtime.block_on(journal.commit(changes)).expect("a commit");
}

fn own(number: u32) -> Vec<Change> {
    let ip = std::net::Ipv4Addr::from_bits(0x0a00_0100 + number);
    let allocation = Allocation {
        addresses: PodAddresses {
            v4: Some(ip),
            v6: None,
        },
        eni: format!("eni-{:08}", number / 29).into(),
        pod: Some(PodKey::new("default", format!("pod-{number}"))),
        pod_uid: Some(format!("0b5e4a9e-5a2c-4d5f-8f65-{number:012}").into()),
        origin: None,
    };
    let key = SandboxKey::new("eni", format!("{number:064x}"), "eth0");
    vec![Change::Own(key, allocation)]
}

criterion_group!(benches, journal);
criterion_main!(benches);
