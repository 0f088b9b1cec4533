//! The program: parse, call, render, exit code.
//!
//! Owns the process: the runtime and the code it ends with. `cli` is declared here and not in the
//! library, so the engine cannot import it. Invariant: whatever happens ends as an exit code
//! (0 done, 1 failed, 2 usage, 3 committed with files missing, 4 refused, 130 interrupted).

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let parsed = match cli::parse(std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(code) => return ExitCode::from(code),
    };
    offsite::open_files::raise_limit();
    // One thread may be inside a scan or a spool while the other moves bytes.
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ExitCode::from(cli::cannot_start(&parsed, error)),
    };
    let code = runtime.block_on(cli::run(parsed));
    // What is still under way was given up; waiting for it would only hold the user.
    runtime.shutdown_background();
    ExitCode::from(code)
}
