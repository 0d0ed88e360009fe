//! Runs `enictl`.

use std::process::ExitCode;

use clap::Parser;
use enictl::{command, options::Options};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match command::run(&options).await {
        Ok(report) => {
            println!("{}", report.text.trim_end());
            report.code.into()
        }
        Err(error) => {
            eprintln!("enictl: {error}");
            ExitCode::from(2)
        }
    }
}
