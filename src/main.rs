fn main() -> std::process::ExitCode {
    flow_shim::demo::run(std::env::args_os().skip(2))
}
