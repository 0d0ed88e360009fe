//! One ADD and one DEL in the node's pool, half of which is in use.
//!
//! The work does not grow with the addresses but with the ENIs, among which the fullest that has room is
//! looked for, and with the logarithm of the addresses at rest. The yardstick beside it is a queue of free
//! addresses and a map of owners: the least that any pool has to do. What a pod waits for beyond this is the
//! journal and the kernel, which are orders of magnitude slower.

use std::{collections::HashMap, collections::VecDeque, hint::black_box};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use eni_core::{
    allocator::{AddressRequest, Allocator, PoolAllocator},
    model::{Families, SandboxKey},
};
use tokio::time::Instant;

const SIZES: [u32; 3] = [250, 1_000, 10_000];

fn allocator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allocate+release");
    for size in SIZES {
        group.bench_with_input(BenchmarkId::new("pool", size), &size, |bencher, &size| {
            let now = Instant::now();
            let mut pool = half_used(size, now);
            let request = request(size);
            bencher.iter(|| {
                black_box(pool.allocate(&request, now)).expect("half of the pool is free");
                black_box(pool.release(&request.key, now, now))
            });
        });
        group.bench_with_input(BenchmarkId::new("yardstick", size), &size, |bencher, &size| {
            let addresses = benches::pool(size).enis.into_iter().flat_map(|eni| eni.attached);
            let mut free: VecDeque<_> = addresses.map(|entry| entry.ip).collect();
            let mut owned: HashMap<_, _> = (0..size / 2)
                .map(key)
                .zip(free.drain(..size as usize / 2))
                .collect();
            let key = key(size);
            bencher.iter(|| {
                let ip = free.pop_front().expect("half of the addresses are free");
                owned.insert(key.clone(), black_box(ip));
                free.extend(owned.remove(&key));
            });
        });
    }
    group.finish();
}

fn half_used(size: u32, now: Instant) -> PoolAllocator {
    let mut pool = PoolAllocator::default();
    pool.accept(&benches::pool(size));
    pool.put_into_service(|_| true);
    for number in 0..size / 2 {
        pool.allocate(&request(number), now)
            .expect("the pool is large enough");
    }
    pool
}

fn request(number: u32) -> AddressRequest {
    AddressRequest {
        key: key(number),
        pod: None,
        pod_uid: None,
        families: Families::V4,
        origin: None,
    }
}

/// The key of a sandbox, with an id as long as a runtime's.
fn key(number: u32) -> SandboxKey {
    SandboxKey::new("pods", format!("{number:064x}"), "eth0")
}

criterion_group!(benches, allocator);
criterion_main!(benches);
