//! The binary: calls `cli::main`, nothing else.

fn main() -> std::process::ExitCode {
    coalmine::cli::main()
}
