//! The signature of one cloud call.
//!
//! It is bound by SHA-256: over the body once, and over about a dozen short blocks for the canonical request
//! and four nested HMACs. The yardstick beside it is one HMAC over the same body. Calls are limited to tens a
//! second, so this matters only in that it does not.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use eni_cloud_tencent::{
    Credentials,
    tc3::{Payload, Request},
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// Bytes of a body: a call on one ENI, and a listing by a hundred ids.
const SIZES: [usize; 2] = [100, 2_000];

fn signing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sign");
    let credentials = Credentials::new("AKIDEXAMPLE", "SECRETEXAMPLE");
    for size in SIZES {
        let body = vec![b'x'; size];
        group.bench_with_input(BenchmarkId::new("tc3", size), &body, |bencher, body| {
            bencher.iter(|| request(black_box(body)).authorization(&credentials));
        });
        group.bench_with_input(BenchmarkId::new("yardstick", size), &body, |bencher, body| {
            bencher.iter(|| {
                let mac = Hmac::<Sha256>::new_from_slice(b"SECRETEXAMPLE");
                let mut mac = mac.expect("HMAC takes a key of any length");
                mac.update(black_box(body));
                mac.finalize().into_bytes()
            });
        });
    }
    group.finish();
}

fn request(body: &[u8]) -> Request<'_> {
    Request {
        method: "POST",
        host: "vpc.tencentcloudapi.com",
        content_type: "application/json",
        extra_headers: &[],
        query: "",
        payload: Payload::Signed(body),
        timestamp: Timestamp::UNIX_EPOCH,
        service: "vpc",
    }
}

criterion_group!(benches, signing);
criterion_main!(benches);
