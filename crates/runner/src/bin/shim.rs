//! The shim by itself, for this crate's tests; the product runs it as `wakeful shim`.

fn main() -> std::process::ExitCode {
    wakeful_runner::process::shim::main()
}
