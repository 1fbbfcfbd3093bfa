//! The binary: calls `cli::main`, nothing else.

/// Measured: less CPU per request than the system's allocator (`make bench`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    coalmine::cli::main()
}
